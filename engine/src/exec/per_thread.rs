// SPDX-License-Identifier: Apache-2.0
//! What threads work with, one each.

use std::sync::Mutex;
use std::thread::{self, ThreadId};

use super::driver::lock;

/// Things that threads take for a while and put back. A thread gets the one that it put back itself, which its cache
/// still holds. There are as many as there are threads that put one back.
pub struct PerThread<T>(Mutex<Vec<(ThreadId, T)>>);

impl<T> Default for PerThread<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> PerThread<T> {
    /// What this thread put back, if it has not taken it since.
    pub fn take(&self) -> Option<T> {
        let mine = thread::current().id();
        let mut all = lock(&self.0);
        let at = all.iter().position(|(owner, _)| *owner == mine)?;
        Some(all.swap_remove(at).1)
    }

    /// Puts something back.
    pub fn put(&self, thing: T) {
        lock(&self.0).push((thread::current().id(), thing));
    }

    /// What any thread put back.
    pub fn take_any(&self) -> Option<T> {
        lock(&self.0).pop().map(|(_, thing)| thing)
    }

    /// All that were put back.
    pub fn take_all(&self) -> Vec<T> {
        lock(&self.0).drain(..).map(|(_, thing)| thing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::PerThread;

    #[test]
    fn a_thread_gets_back_what_it_put() {
        let all = PerThread::default();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let all = &all;
                scope.spawn(move || {
                    assert!(all.take().is_none());
                    all.put(number);
                    assert_eq!(all.take(), Some(number));
                    all.put(number);
                });
            }
        });
        assert!(all.take().is_none());
        let one = all.take_any();
        assert!(one.is_some_and(|number| number < 4));
        assert_eq!(all.take_all().len(), 3);
    }
}
