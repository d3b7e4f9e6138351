// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's own heap access method, to which the row half of a doris table is handed.
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

/// The heap's routine table.
#[inline]
pub fn routine() -> &'static pg_sys::TableAmRoutine {
    // SAFETY: the function returns the address of a static constant.
    unsafe { &*GetHeapamTableAmRoutine() }
}

extern "C-unwind" {
    fn GetHeapamTableAmRoutine() -> *const pg_sys::TableAmRoutine;
}

/// One of the heap's callbacks; all of them are set.
#[macro_export]
macro_rules! heap_call {
    ($callback:ident ( $($arg:expr),* $(,)? )) => {{
        // The expect can only fail on a server whose heap lacks a mandatory callback.
        let callback = $crate::pg::heapam::routine().$callback.expect("heap callback");
        $crate::pg::raw::guarded(|| callback($($arg),*))
    }};
}

thread_local! {
    /// Relations that currently pass for heaps: (oid, relation cache entry, our routine, nesting depth).
    static VIEWS: RefCell<Vec<(pg_sys::Oid, pg_sys::Relation, *const pg_sys::TableAmRoutine)>> =
        const { RefCell::new(Vec::new()) };
}

/// While it lives, a doris relation is a plain heap to this backend: only its main relation's rows are seen.
///
/// Needed for heap callbacks that scan the relation through the table access method interface and cast what
/// they get (index builds, CLUSTER). An invalidation may rebuild the relation cache entry in the middle, so
/// [`reapply`] is registered as a callback for that.
pub struct HeapView {
    rel: pg_sys::Relation,
}

impl HeapView {
    /// Makes `rel` pass for a heap until the view is dropped.
    pub fn of(rel: pg_sys::Relation) -> Self {
        // SAFETY: an open relation; its cache entry stays at this address while it is open.
        unsafe {
            VIEWS.with_borrow_mut(|views| views.push(((*rel).rd_id, rel, (*rel).rd_tableam)));
            (*rel).rd_tableam = GetHeapamTableAmRoutine();
        }
        Self { rel }
    }
}

impl Drop for HeapView {
    fn drop(&mut self) {
        VIEWS.with_borrow_mut(|views| {
            if let Some(at) = views.iter().rposition(|view| view.1 == self.rel) {
                let (_, rel, routine) = views.remove(at);
                // SAFETY: the relation is still open: the view is dropped before its caller closes it.
                unsafe { (*rel).rd_tableam = routine };
            }
        });
    }
}

/// Relation cache callback: an entry that was rebuilt under a view becomes a heap again.
#[pg_guard]
pub unsafe extern "C-unwind" fn reapply(_arg: pg_sys::Datum, relid: pg_sys::Oid) {
    VIEWS.with_borrow(|views| {
        for (oid, rel, _) in views {
            if relid == pg_sys::InvalidOid || relid == *oid {
                // SAFETY: see HeapView: the relation is open while its view is registered.
                unsafe { (**rel).rd_tableam = GetHeapamTableAmRoutine() };
            }
        }
    });
}
