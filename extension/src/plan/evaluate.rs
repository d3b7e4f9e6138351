// SPDX-License-Identifier: Apache-2.0
//! External expressions at work: PostgreSQL's executor over the engine's batches, on the main thread.
//!
//! 1. A slice of rows becomes Datums, row by row.
//! 2. PostgreSQL evaluates the expression for each row, in the memory of the slice.
//! 3. The results become the rows of a vector, and the slice's memory is free again.
//!
//! An error of PostgreSQL's leaves step 2 as a panic that unwinds through the engine: the main thread is within a
//! source then, where the driver waits for its workers before it lets a panic pass. Nothing runs after it that would
//! meet what the error left behind.
//!
//! Text in dictionaries is computed once for each entry that some row has, if the expression is immutable.
use super::external::External;
use super::types;
use crate::pg::raw;
use crate::read::attrs::Attr;
use crate::read::datum::{datum, Arena};
use crate::write::column::Column;
use crate::write::kind::Kind;
use doris_engine::error::{Error, Result};
use doris_engine::expr::ExternalEval;
use doris_engine::gather::gather;
use doris_engine::types::DataType;
use doris_storage::vector::{BytesColumn, Values, Vector};
use pgrx::pg_sys;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// Rows in a slice.
const SLICE_ROWS: usize = 64;
/// Results for the entries of a dictionary are kept up to so many bytes of text.
const KEPT_BYTES_MAX: usize = 32 << 20;
/// Marks a dictionary entry without a result.
const UNKNOWN: u32 = u32::MAX;

/// PostgreSQL's side of a node's external expressions. Lives as long as the query; all zero at first.
#[repr(C)]
pub struct Place {
    /// Where expressions are evaluated.
    econtext: *mut pg_sys::ExprContext,
}

/// Evaluates the external expressions of a converted plan.
pub struct Evaluator {
    econtext: *mut pg_sys::ExprContext,
    /// By number; `None`: not in the plan.
    calls: Vec<Option<Call>>,
}

/// An external expression, ready to run.
struct Call {
    state: *mut pg_sys::ExprState,
    slot: *mut pg_sys::TupleTableSlot,
    args: Vec<(Attr, u16)>,
    kind: Kind,
    immutable: bool,
    varies: bool,
    known: Cell<Option<Known>>,
    arena: Cell<Arena>,
}

/// Results for the entries of the dictionary that was met last.
struct Known {
    dict: Arc<BytesColumn>,
    /// The row of `results` for each entry, and behind them the one for NULL.
    rows: Vec<u32>,
    results: Column,
    count: u32,
}

impl Evaluator {
    /// Gets ready the expressions of a plan, of which it uses those numbered `used`. Their states live in `memory`.
    ///
    /// # Safety
    /// A place of the custom scan's state; expressions of its plan. The memory outlives the evaluator's use.
    pub unsafe fn new(
        place: *mut Place,
        planstate: *mut pg_sys::PlanState,
        memory: pg_sys::MemoryContext,
        externals: &[External],
        used: &[u32],
    ) -> Self {
        // SAFETY: passed on to the caller.
        unsafe {
            let estate = (*planstate).state;
            if (*place).econtext.is_null() {
                (*place).econtext = pg_sys::CreateExprContext(estate);
            } else {
                pg_sys::ReScanExprContext((*place).econtext);
            }
            let before = pg_sys::MemoryContextSwitchTo(memory);
            let calls = externals
                .iter()
                .enumerate()
                .map(|(id, external)| {
                    used.contains(&(id as u32))
                        .then(|| Call::new(external, planstate))
                })
                .collect();
            pg_sys::MemoryContextSwitchTo(before);
            Self {
                econtext: (*place).econtext,
                calls,
            }
        }
    }

    /// Gets ready for another start, when parameters may have changed.
    pub fn again(&self) {
        // SAFETY: the context of a node that is about to start again.
        unsafe { pg_sys::ReScanExprContext(self.econtext) };
        for call in self.calls.iter().flatten().filter(|call| call.varies) {
            call.known.set(None);
        }
    }
}

/// An evaluator that its plan's later starts use too.
pub struct Shared(pub Rc<Evaluator>);

impl ExternalEval for Shared {
    fn eval(&self, id: u32, args: &[Arc<Vector>], rows: usize, result: DataType) -> Result<Vector> {
        self.0.eval(id, args, rows, result)
    }
}

impl ExternalEval for Evaluator {
    fn eval(&self, id: u32, args: &[Arc<Vector>], rows: usize, result: DataType) -> Result<Vector> {
        let Some(Some(call)) = self.calls.get(id as usize) else {
            return Err(Error::internal("an external expression without a state"));
        };
        let vector = match args {
            [] => {
                let mut out = Column::new(call.kind);
                // SAFETY: the evaluator lives no longer than the node's context.
                unsafe { call.append(self.econtext, &[], 1, &mut out)? };
                gather(&out.finish(), &vec![0; rows])
            }
            [one] => match (&one.values, call.immutable) {
                // SAFETY: as above.
                (Values::Dict { codes, dict }, true) => unsafe {
                    call.by_entry(self.econtext, one, codes, dict)?
                },
                // SAFETY: as above.
                _ => unsafe { call.rows(self.econtext, args, rows)? },
            },
            // SAFETY: as above.
            _ => unsafe { call.rows(self.econtext, args, rows)? },
        };
        match vector.physical() == result.physical() {
            true => Ok(vector),
            false => Err(Error::internal("an external expression of another type")),
        }
    }
}

impl Call {
    unsafe fn new(external: &External, planstate: *mut pg_sys::PlanState) -> Self {
        // SAFETY: an expression of the node's plan; the slot's descriptor has a column an argument.
        unsafe {
            let width = external.args.len();
            let desc = pg_sys::CreateTemplateTupleDesc(width as i32);
            let mut args = Vec::with_capacity(width);
            for (i, arg) in external.args.iter().enumerate() {
                pg_sys::TupleDescInitEntry(
                    desc,
                    i as i16 + 1,
                    std::ptr::null(),
                    arg.type_oid,
                    arg.typmod,
                    0,
                );
                let kind = types::kind_of(arg.data_type);
                let attr = Attr {
                    number: i as u16 + 1,
                    kind,
                    type_oid: arg.type_oid,
                    dropped: false,
                };
                args.push((attr, kind.scale()));
            }
            let slot = pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsVirtual);
            pg_sys::ExecStoreVirtualTuple(slot);
            Self {
                state: pg_sys::ExecInitExpr(external.expr.cast(), planstate),
                slot,
                args,
                kind: types::kind_of(external.data_type),
                immutable: external.immutable,
                varies: external.varies,
                known: Cell::new(None),
                arena: Cell::default(),
            }
        }
    }

    /// The results for rows. `econtext` is that of the node, as it is below.
    unsafe fn rows(
        &self,
        econtext: *mut pg_sys::ExprContext,
        args: &[Arc<Vector>],
        rows: usize,
    ) -> Result<Vector> {
        let mut out = Column::new(self.kind);
        // SAFETY: passed on to the caller.
        unsafe { self.append(econtext, args, rows, &mut out)? };
        Ok(out.finish())
    }

    /// The results for rows of a dictionary column.
    unsafe fn by_entry(
        &self,
        econtext: *mut pg_sys::ExprContext,
        arg: &Vector,
        codes: &[u32],
        dict: &Arc<BytesColumn>,
    ) -> Result<Vector> {
        let mut known = match self.known.take() {
            Some(known) if Arc::ptr_eq(&known.dict, dict) => known,
            _ => Known {
                dict: Arc::clone(dict),
                rows: vec![UNKNOWN; dict.len() + 1],
                results: Column::new(self.kind),
                count: 0,
            },
        };
        let entry = |row: usize| match arg.is_null(row) {
            true => dict.len(),
            false => codes[row] as usize,
        };
        let mut fresh = Vec::new();
        for row in 0..codes.len() {
            let place = &mut known.rows[entry(row)];
            if *place == UNKNOWN {
                *place = known.count;
                known.count += 1;
                fresh.push(row as u32);
            }
        }
        if !fresh.is_empty() {
            let fresh = Arc::new(gather(arg, &fresh));
            let rows = fresh.len();
            // SAFETY: passed on to the caller.
            unsafe { self.append(econtext, &[fresh], rows, &mut known.results)? };
        }
        let rows: Vec<u32> = (0..codes.len()).map(|row| known.rows[entry(row)]).collect();
        let vector = gather(known.results.vector(), &rows);
        if text_bytes(known.results.vector()) <= KEPT_BYTES_MAX {
            self.known.set(Some(known));
        }
        Ok(vector)
    }

    /// Appends the results for all rows of the arguments.
    unsafe fn append(
        &self,
        econtext: *mut pg_sys::ExprContext,
        args: &[Arc<Vector>],
        rows: usize,
        out: &mut Column,
    ) -> Result<()> {
        let mut arena = self.arena.take();
        let mut inputs = Vec::with_capacity(SLICE_ROWS * args.len());
        let mut results = [(pg_sys::Datum::from(0), false); SLICE_ROWS];
        for from in (0..rows).step_by(SLICE_ROWS) {
            pgrx::check_for_interrupts!();
            let to = (from + SLICE_ROWS).min(rows);
            inputs.clear();
            for row in from..to {
                for ((attr, scale), vector) in self.args.iter().zip(args) {
                    inputs.push(datum(vector, row, attr, *scale, &mut arena));
                }
            }
            let results = &mut results[..to - from];
            // SAFETY: as many inputs as the slot has columns, for each result; the results live in the context's
            // memory until it is reset.
            unsafe {
                self.run(econtext, &inputs, results);
                for (value, null) in results {
                    out.push(*value, *null);
                }
                pg_sys::MemoryContextReset((*econtext).ecxt_per_tuple_memory);
            }
            arena.reset();
        }
        self.arena.set(arena);
        match out.kind() == self.kind {
            true => Ok(()),
            false => Err(Error::not_native(
                "a numeric value that is not a plain number",
            )),
        }
    }

    /// Evaluates a slice.
    unsafe fn run(
        &self,
        econtext: *mut pg_sys::ExprContext,
        inputs: &[Option<pg_sys::Datum>],
        results: &mut [(pg_sys::Datum, bool)],
    ) {
        let (state, slot, width) = (self.state, self.slot, self.args.len());
        // SAFETY: the state and the slot were made for each other; nothing in the closure needs dropping.
        unsafe {
            (*econtext).ecxt_outertuple = slot;
            let Some(evaluate) = (*state).evalfunc else {
                return;
            };
            let before = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
            raw::keeping(|| {
                for (i, (value, null)) in results.iter_mut().enumerate() {
                    for column in 0..width {
                        let input = inputs[i * width + column];
                        *(*slot).tts_values.add(column) = input.unwrap_or(pg_sys::Datum::from(0));
                        *(*slot).tts_isnull.add(column) = input.is_none();
                    }
                    *value = evaluate(state, econtext, null);
                }
            });
            pg_sys::MemoryContextSwitchTo(before);
        }
    }
}

/// What a vector's texts take.
fn text_bytes(vector: &Vector) -> usize {
    match &vector.values {
        Values::Bytes(column) => column.data.len(),
        _ => 0,
    }
}
