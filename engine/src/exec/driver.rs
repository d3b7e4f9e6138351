// SPDX-License-Identifier: Apache-2.0
//! The driving thread and its workers.
//!
//! [`Driver::drive`] moves items from the driving thread to workers through a bounded queue:
//! 1. the driving thread makes an item and puts it on the queue, starting another worker while fewer run than
//!    may; when the queue is full it works the item itself;
//! 2. when there are no more items it helps to empty the queue and waits, calling the idle callback every few
//!    milliseconds;
//! 3. the first error (or panic, as [`Error::Internal`]) stops everybody; so does cancellation.
//!
//! When `drive` returns nobody works any more: a query that hands rows to its caller holds no thread.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rayon::ThreadPool;

use super::query::{Query, Worker};
use crate::error::{Error, Result};
use crate::expr::ExternalEval;
use crate::memory;
use crate::ops::join::build_cache::BuildCache;

/// How often a waiting driving thread calls the idle callback.
const IDLE_INTERVAL: Duration = Duration::from_millis(5);
/// Items waiting for each worker, so that none waits for the driving thread while that works itself.
const QUEUED_PER_WORKER: usize = 2;

/// What a waiting driving thread calls.
pub type Idle = Box<dyn FnMut() -> Result<()>>;

/// The driving thread's tools.
pub struct Driver {
    /// What all threads share.
    pub query: Arc<Query>,
    pub(super) pool: Option<Arc<ThreadPool>>,
    pub(super) external: Option<Box<dyn ExternalEval>>,
    pub(super) on_idle: RefCell<Option<Idle>>,
    pub(super) kept: Option<Rc<BuildCache>>,
}

/// What workers do with an item.
pub type Work<'w, T> = dyn Fn(&Worker<'_>, T) -> Result<()> + Sync + 'w;

impl Driver {
    /// A worker on the driving thread; it may evaluate external expressions.
    pub fn worker(&self) -> Worker<'_> {
        Worker::new(&self.query, self.external.as_deref())
    }

    /// What keeps the table of a join from one execution to the next; `None`: it is made anew.
    pub fn kept(&self, join: u32) -> Option<&BuildCache> {
        self.kept.as_deref().filter(|kept| kept.keeps(join))
    }

    /// Calls the idle callback, then looks for cancellation.
    pub fn idle(&self) -> Result<()> {
        if let Some(callback) = self.on_idle.borrow_mut().as_mut() {
            callback()?;
        }
        self.query.check()
    }

    /// Works every item that `next` makes (on this thread) with `work` (on any thread).
    pub fn drive<T: Send>(
        &self,
        next: &mut dyn FnMut() -> Result<Option<T>>,
        work: &Work<'_, T>,
    ) -> Result<()> {
        let mine = self.worker();
        let threads = self.query.threads_now.load(Ordering::Relaxed);
        let helpers = threads.min(self.query.threads).saturating_sub(1);
        let (Some(pool), true) = (&self.pool, helpers > 0) else {
            while let Some(item) = next()? {
                self.idle()?;
                guarded(work, &mine, item)?;
            }
            return Ok(());
        };
        let Some(first) = next()? else { return Ok(()) };
        let Some(second) = next()? else {
            return guarded(work, &mine, first);
        };
        let queue = Queue::new(helpers);
        let query = &*self.query;
        pool.in_place_scope(|scope| {
            let _clear = ClearOnDrop(&queue);
            let start_worker = || {
                let queue = &queue;
                scope.spawn(move |_| queue.work_until_empty(&Worker::new(query, None), work));
            };
            let mut ahead = VecDeque::from([first, second]);
            let outcome = self.feed(&queue, &mut ahead, next, work, &mine, &start_worker);
            if let Err(error) = outcome {
                queue.fail(error);
            }
            self.finish(&queue, work, &mine);
        });
        queue.outcome()
    }

    /// Step 1: makes items and hands them out.
    fn feed<T: Send>(
        &self,
        queue: &Queue<T>,
        ahead: &mut VecDeque<T>,
        next: &mut dyn FnMut() -> Result<Option<T>>,
        work: &Work<'_, T>,
        mine: &Worker<'_>,
        start_worker: &dyn Fn(),
    ) -> Result<()> {
        loop {
            self.idle()?;
            if queue.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let item = match ahead.pop_front() {
                Some(item) => Some(item),
                None => next()?,
            };
            let Some(item) = item else { return Ok(()) };
            match queue.push(item, start_worker) {
                Ok(()) => {}
                Err(item) => guarded(work, mine, item)?,
            }
        }
    }

    /// Step 2: helps to empty the queue and waits for the workers.
    fn finish<T: Send>(&self, queue: &Queue<T>, work: &Work<'_, T>, mine: &Worker<'_>) {
        queue.close();
        while let Some(item) = queue.pop_now() {
            if let Err(error) = guarded(work, mine, item) {
                queue.fail(error);
            }
        }
        while !queue.wait_until_idle(IDLE_INTERVAL) {
            if let Err(error) = self.idle() {
                self.query.cancel.store(true, Ordering::Relaxed);
                queue.fail(error);
            }
        }
    }

    /// Runs `work(0), ..., work(n - 1)` on all threads.
    pub fn for_each(&self, n: usize, work: &Work<'_, usize>) -> Result<()> {
        let mut numbers = 0..n;
        self.drive(&mut || Ok(numbers.next()), work)
    }

    /// Works every item of a list on all threads.
    pub fn for_all<T: Send>(&self, items: Vec<T>, work: &Work<'_, T>) -> Result<()> {
        let mut items = items.into_iter();
        self.drive(&mut || Ok(items.next()), work)
    }
}

/// Runs one item, turning a panic into an error.
fn guarded<T>(work: &Work<'_, T>, worker: &Worker<'_>, item: T) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| work(worker, item)))
        .unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// The error for a panic's payload.
fn panicked(payload: &(dyn Any + Send)) -> Error {
    if memory::is_refused(payload) {
        return Error::OutOfMemory;
    }
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::internal(text.unwrap_or("panic"))
}

/// Locks a mutex whose data is valid whatever happened to its last owner.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bounded queue of items with its workers' state. A worker leaves when the queue is empty and is started
/// anew by the next item: were it to wait, a drive within a source would wait for its thread for ever.
struct Queue<T> {
    state: Mutex<QueueState<T>>,
    changed: Condvar,
    failed: AtomicBool,
    helpers_max: usize,
}

struct QueueState<T> {
    items: VecDeque<T>,
    closed: bool,
    /// Workers that run, or are about to.
    workers: usize,
    error: Option<Error>,
}

impl<T> Queue<T> {
    fn new(helpers_max: usize) -> Self {
        let state = QueueState {
            items: VecDeque::new(),
            closed: false,
            workers: 0,
            error: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            failed: AtomicBool::new(false),
            helpers_max,
        }
    }

    /// Puts an item on the queue, or gives it back when the queue is full.
    fn push(&self, item: T, start_worker: &dyn Fn()) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.items.len() >= self.helpers_max * QUEUED_PER_WORKER {
            return Err(item);
        }
        state.items.push_back(item);
        if state.workers < self.helpers_max {
            state.workers += 1;
            drop(state);
            start_worker();
        }
        Ok(())
    }

    /// A worker's life.
    fn work_until_empty(&self, worker: &Worker<'_>, work: &Work<'_, T>) {
        while let Some(item) = self.pop_or_leave() {
            if let Err(error) = worker
                .query
                .check()
                .and_then(|()| guarded(work, worker, item))
            {
                self.fail(error);
            }
        }
    }

    /// The next item for a worker; with `None` it no longer counts as one.
    fn pop_or_leave(&self) -> Option<T> {
        let mut state = lock(&self.state);
        let item = state.items.pop_front();
        if item.is_none() {
            state.workers -= 1;
            if state.closed {
                self.changed.notify_all();
            }
        }
        item
    }

    fn pop_now(&self) -> Option<T> {
        lock(&self.state).items.pop_front()
    }

    /// Waits until no worker works, at most for `timeout`; whether that is so.
    fn wait_until_idle(&self, timeout: Duration) -> bool {
        let state = lock(&self.state);
        let waited = self
            .changed
            .wait_timeout_while(state, timeout, |s| s.workers > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.workers == 0
    }

    fn close(&self) {
        lock(&self.state).closed = true;
    }

    /// Keeps the first error and drops what is still queued.
    fn fail(&self, error: Error) {
        self.fail_locked(&mut lock(&self.state), error);
    }

    fn fail_locked(&self, state: &mut QueueState<T>, error: Error) {
        state.error.get_or_insert(error);
        state.items.clear();
        self.failed.store(true, Ordering::Relaxed);
    }

    fn outcome(self) -> Result<()> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state.error.map_or(Ok(()), Err)
    }
}

/// Leaves the workers nothing to do when the driving thread unwinds.
struct ClearOnDrop<'a, T>(&'a Queue<T>);

impl<T> Drop for ClearOnDrop<'_, T> {
    fn drop(&mut self) {
        lock(&self.0.state).items.clear();
    }
}
