// SPDX-License-Identifier: Apache-2.0
//! An aggregate at work: its functions called as an Agg node calls them, with the same rules for strict functions and
//! for who owns the transition value.
use super::info::{self, shown, Aggregate};
use super::wire::{self, Parts};
use crate::pg::{self, raw};
use crate::types::shells::varlena_bytes;
use pgrx::pg_sys::{self, Datum, MemoryContext, Oid};
use pgrx::PgSqlErrorCode;
use std::rc::Rc;

/// A value or NULL.
type Value = Option<Datum>;

/// An aggregate and its transition value.
pub struct Machine {
    aggregate: Rc<Aggregate>,
    /// Holds all below; its parent's end is its end.
    home: MemoryContext,
    /// Holds the transition value.
    states: MemoryContext,
    /// Emptied before each call.
    scratch: MemoryContext,
    /// What the functions take for the node that calls them.
    node: *mut pg_sys::AggState,
    functions: Vec<(Oid, *mut pg_sys::FmgrInfo)>,
    value: Value,
}

fn new_context(parent: MemoryContext) -> MemoryContext {
    // SAFETY: a new memory context of the usual sizes under one that exists.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            c"doris agg_state".as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}

/// Runs something with another current memory context. An error resets it anyway.
fn within<T>(context: MemoryContext, run: impl FnOnce() -> T) -> T {
    // SAFETY: a living context; PostgreSQL sets the current one anew after an error.
    unsafe {
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        let result = run();
        pg_sys::CurrentMemoryContext = before;
        result
    }
}

impl Machine {
    /// An aggregate that has seen no row; it lives no longer than the context.
    pub fn new(aggregate: Rc<Aggregate>, parent: MemoryContext) -> Self {
        let home = new_context(parent);
        let (states, scratch) = (new_context(home), new_context(home));
        // SAFETY: zeroed nodes in a context that outlives them; of theirs, aggregates look at these fields.
        let node = within(home, || unsafe {
            let context = |memory| {
                let size = std::mem::size_of::<pg_sys::ExprContext>();
                let context = pg_sys::palloc0(size) as *mut pg_sys::ExprContext;
                (*context).type_ = pg_sys::NodeTag::T_ExprContext;
                (*context).ecxt_per_query_memory = home;
                (*context).ecxt_per_tuple_memory = memory;
                context
            };
            let node =
                pg_sys::palloc0(std::mem::size_of::<pg_sys::AggState>()) as *mut pg_sys::AggState;
            (*node).ss.ps.type_ = pg_sys::NodeTag::T_AggState;
            (*node).curaggcontext = context(states);
            (*node).tmpcontext = context(scratch);
            node
        });
        let mut machine = Self {
            aggregate,
            home,
            states,
            scratch,
            node,
            functions: Vec::new(),
            value: None,
        };
        machine.begin();
        machine
    }

    /// The aggregate.
    pub fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        // SAFETY: a context of ours, whose values nobody else has.
        unsafe { pg_sys::MemoryContextReset(self.states) };
        self.begin();
    }

    fn begin(&mut self) {
        let state = &self.aggregate.state;
        self.value = self.aggregate.initial.as_ref().map(|text| {
            within(self.states, || {
                let (mut input, mut param) = (Oid::INVALID, Oid::INVALID);
                // SAFETY: the input function of the transition type on its initial value, as text.
                unsafe {
                    pg_sys::getTypeInputInfo(state.oid, &mut input, &mut param);
                    let text = pg_sys::pstrdup(text.as_ptr());
                    pg_sys::OidInputFunctionCall(input, text, param, -1)
                }
            })
        });
    }

    /// Adds a row.
    pub fn step(&mut self, arguments: &[Value]) {
        let aggregate = Rc::clone(&self.aggregate);
        if self.is_strict(aggregate.trans) {
            if arguments.iter().any(Option::is_none) {
                return;
            }
            if self.value.is_none() {
                // Such an aggregate's first argument is a transition value.
                let first = arguments.first().copied().flatten();
                return self.keep(first, true);
            }
        }
        let mut all = vec![self.value];
        all.extend_from_slice(arguments);
        let result = self.call(aggregate.trans, &all);
        self.keep(result, false);
    }

    /// Adds what another state of the aggregate has seen.
    pub fn combine(&mut self, other: Value) {
        let combine = self.aggregate.combine;
        if self.is_strict(combine) {
            if other.is_none() {
                return;
            }
            if self.value.is_none() {
                return self.keep(other, true);
            }
        }
        let result = self.call(combine, &[self.value, other]);
        self.keep(result, false);
    }

    /// As [`Machine::combine`], of stored states.
    pub fn combine_stored(&mut self, state: Parts) {
        if self.aggregate.name != state.name && info::of_name(state.name).oid != self.aggregate.oid
        {
            pg::refuse(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                format!(
                    "cannot merge states of {} and {}",
                    shown(&self.aggregate.name),
                    shown(state.name)
                ),
                "States of one aggregate can be merged.",
            );
        }
        // SAFETY: a context of ours, whose values are not used any more.
        unsafe { pg_sys::MemoryContextReset(self.scratch) };
        let other = self.read(state.value);
        self.combine(other);
    }

    /// The transition value of stored bytes; for a short time.
    fn read(&mut self, bytes: Option<&[u8]>) -> Value {
        let bytes = bytes?;
        let aggregate = Rc::clone(&self.aggregate);
        let state = &aggregate.state;
        if state.is_internal() {
            let bytes = within(self.scratch, || pg::varlena(bytes));
            return self.call(state.read, &[Some(bytes), None]);
        }
        Some(within(self.scratch, || {
            // SAFETY: the receive function of the transition type on a buffer that lives for the call.
            unsafe {
                let mut buffer = std::mem::zeroed::<pg_sys::StringInfoData>();
                pg_sys::initStringInfo(&mut buffer);
                pg_sys::appendBinaryStringInfo(
                    &mut buffer,
                    bytes.as_ptr().cast(),
                    bytes.len() as i32,
                );
                pg_sys::OidReceiveFunctionCall(state.read, &mut buffer, state.param, -1)
            }
        }))
    }

    /// The state as it is stored.
    pub fn encode(&mut self) -> Vec<u8> {
        let aggregate = Rc::clone(&self.aggregate);
        let state = &aggregate.state;
        let written = self.value.map(|value| {
            let written = if state.is_internal() {
                self.call(state.write, &[Some(value)])
            } else {
                // SAFETY: the send function of the transition type on such a value.
                Some(within(self.scratch, || unsafe {
                    Datum::from(pg_sys::OidSendFunctionCall(state.write, value))
                }))
            };
            // SAFETY: both kinds of functions return bytea.
            unsafe { varlena_bytes(written.unwrap_or_else(|| pg::varlena(&[]))) }
        });
        let parts = Parts {
            name: &aggregate.name,
            value: written,
        };
        parts.encode()
    }

    /// The aggregate's result, in the current memory context.
    pub fn finish(&mut self) -> Value {
        let aggregate = Rc::clone(&self.aggregate);
        let result = if aggregate.finish == Oid::INVALID {
            self.value
        } else {
            let mut arguments = vec![self.value];
            if aggregate.finish_extra {
                arguments.extend(aggregate.args.iter().map(|_| None));
            }
            if self.is_strict(aggregate.finish) && arguments.iter().any(Option::is_none) {
                return None;
            }
            self.call(aggregate.finish, &arguments)
        };
        let (len, byval, _) = crate::types::shells::element_shape(aggregate.result);
        result.map(|value| raw::copy_datum(value, byval, len))
    }

    /// Makes a value the transition value: in `states`, unless its maker has put it there.
    fn keep(&mut self, value: Value, foreign: bool) {
        let state = &self.aggregate.state;
        let same = value.map(|v| v.value()) == self.value.map(|v| v.value());
        if state.byval || (same && !foreign) {
            self.value = value;
            return;
        }
        let copy = value.map(|value| {
            within(self.states, || {
                raw::copy_datum(value, state.byval, state.len)
            })
        });
        let before = std::mem::replace(&mut self.value, copy);
        if let Some(before) = before {
            // SAFETY: a transition value passed by reference is ours, a copy made here or by `begin`.
            unsafe { pg_sys::pfree(before.cast_mut_ptr()) };
        }
    }

    fn function(&mut self, oid: Oid) -> *mut pg_sys::FmgrInfo {
        if let Some(known) = self.functions.iter().find(|known| known.0 == oid) {
            return known.1;
        }
        // SAFETY: the description lives as long as `home`.
        let function = unsafe {
            let size = std::mem::size_of::<pg_sys::FmgrInfo>();
            let function = pg_sys::MemoryContextAllocZero(self.home, size) as *mut pg_sys::FmgrInfo;
            pg_sys::fmgr_info_cxt(oid, function, self.home);
            function
        };
        self.functions.push((oid, function));
        function
    }

    fn is_strict(&mut self, oid: Oid) -> bool {
        // SAFETY: a description of a function.
        unsafe { (*self.function(oid)).fn_strict }
    }

    /// Calls one of the aggregate's functions, in the scratch context.
    fn call(&mut self, oid: Oid, arguments: &[Value]) -> Value {
        let function = self.function(oid);
        let (node, collation) = (self.node, self.aggregate.collation);
        within(self.scratch, || {
            let size = std::mem::offset_of!(pg_sys::FunctionCallInfoBaseData, args)
                + arguments.len() * std::mem::size_of::<pg_sys::NullableDatum>();
            // SAFETY: the structure has room for the arguments, which are of the types that the aggregate's function
            // declares.
            unsafe {
                let info = pg_sys::palloc0(size) as *mut pg_sys::FunctionCallInfoBaseData;
                (*info).flinfo = function;
                (*info).context = node.cast();
                (*info).fncollation = collation;
                (*info).nargs = arguments.len() as i16;
                let slots = (*info).args.as_mut_ptr();
                for (at, argument) in arguments.iter().enumerate() {
                    (*slots.add(at)).value = argument.unwrap_or(Datum::from(0));
                    (*slots.add(at)).isnull = argument.is_none();
                }
                let Some(entry) = (*function).fn_addr else {
                    pgrx::error!("a function of an aggregate has no entry point");
                };
                let result = raw::guarded(|| entry(info));
                (!(*info).isnull).then_some(result)
            }
        })
    }

    /// Frees what calls have left, between rows.
    pub fn tidy(&mut self) {
        // SAFETY: a context of ours, whose values are not used any more.
        unsafe { pg_sys::MemoryContextReset(self.scratch) };
    }

    /// Frees everything.
    pub fn end(self) {
        // SAFETY: a context of ours, and the last use of it.
        unsafe { pg_sys::MemoryContextDelete(self.home) };
    }
}

/// Merges states, many groups one after the other.
#[derive(Default)]
pub struct Unions(Option<Machine>);

impl Unions {
    /// The union of stored states, of which there is one at least.
    pub fn of<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut fresh = true;
        for part in parts {
            let part = wire::stored(part);
            if std::mem::take(&mut fresh) {
                match &mut self.0 {
                    Some(machine) if machine.aggregate.name == part.name => machine.restart(),
                    _ => {
                        self.end();
                        // SAFETY: a plain variable of this backend.
                        let parent = unsafe { pg_sys::CurrentMemoryContext };
                        self.0 = Some(Machine::new(info::of_name(part.name), parent));
                    }
                }
            }
            if let Some(machine) = &mut self.0 {
                machine.combine_stored(part);
            }
        }
        self.0.as_mut().map_or_else(Vec::new, |machine| {
            let bytes = machine.encode();
            machine.tidy();
            bytes
        })
    }

    /// Frees what it holds; what is left ends with the memory context that was current.
    pub fn end(&mut self) {
        if let Some(machine) = self.0.take() {
            machine.end();
        }
    }
}
