// SPDX-License-Identifier: Apache-2.0
//! Columns that a mirror has and its source does not: new rows get their defaults, as a subscriber's do.
use super::mirror_relation::MirrorRelation;
use crate::pg::attributes;
use pgrx::prelude::*;

/// A column of the mirror's own that has a default.
pub(super) struct OwnColumn {
    /// Its place in a row, from 0.
    attribute: usize,
    default: *mut pg_sys::ExprState,
}

impl MirrorRelation {
    /// Puts the defaults of the mirror's own columns into a new row.
    ///
    /// # Safety
    /// The slot is of the relation's row type and being filled; the rights of the mirror's owner are in force. Values live
    /// until `values` is reset.
    pub(super) unsafe fn fill_own(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the relation and its executor state are open.
        let own = unsafe {
            if self.own.is_none() {
                self.own = Some(self.own_columns());
            }
            self.own.as_deref().unwrap_or_default()
        };
        if own.is_empty() {
            return;
        }
        // SAFETY: the states were made in this executor state; attributes are below the slot's number of values.
        unsafe {
            let context = per_tuple_context(self.estate);
            let before = pg_sys::MemoryContextSwitchTo(self.values);
            for column in own {
                let mut null = true;
                let value = pg_sys::ExecEvalExpr(column.default, context, &mut null);
                *(*slot).tts_values.add(column.attribute) = value;
                *(*slot).tts_isnull.add(column.attribute) = null;
            }
            pg_sys::MemoryContextSwitchTo(before);
        }
    }

    /// The columns that no value of the stream is for and that have a default. Generated ones are computed later.
    unsafe fn own_columns(&self) -> Vec<OwnColumn> {
        // SAFETY: the caller's promise; what is made lives as long as the executor state.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo((*self.estate).es_query_cxt);
            let default_of = |(at, column): (usize, &pg_sys::FormData_pg_attribute)| {
                let sent = self.converters.iter().any(|c| c.attribute == at);
                if sent || column.attisdropped || column.attgenerated != 0 {
                    return None;
                }
                let expression = pg_sys::build_column_default(self.rel, at as i32 + 1);
                if expression.is_null() {
                    return None;
                }
                let planned = pg_sys::expression_planner(expression.cast());
                let default = pg_sys::ExecInitExpr(planned, std::ptr::null_mut());
                Some(OwnColumn {
                    attribute: at,
                    default,
                })
            };
            let columns = attributes::all(self.rel).enumerate();
            let own = columns.filter_map(default_of).collect();
            pg_sys::MemoryContextSwitchTo(before);
            own
        }
    }
}

/// The context in which expressions on single rows are evaluated.
unsafe fn per_tuple_context(estate: *mut pg_sys::EState) -> *mut pg_sys::ExprContext {
    // SAFETY: an executor state that is in use.
    unsafe {
        match (*estate).es_per_tuple_exprcontext {
            context if context.is_null() => pg_sys::MakePerTupleExprContext(estate),
            context => context,
        }
    }
}
