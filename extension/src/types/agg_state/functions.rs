// SPDX-License-Identifier: Apache-2.0
//! The SQL functions of `agg_state`.
use super::info::{self, shown};
use super::machine::Machine;
use super::wire::{self, Parts};
use crate::pg;
use crate::types::shells::{fail, from_hex, sql_functions, to_hex, Args, Cstring, Raw};
use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys::{self, Oid};
use pgrx::PgSqlErrorCode;
use std::rc::Rc;

sql_functions! {
    "doris_agg_state_in" => |args: &Args| admitted(args, from_text(args.cstring(0)));
    "doris_agg_state_out" => to_text;
    "doris_agg_state_recv" => |args: &Args| admitted(args, args.message(0).to_vec());
    "doris_agg_state_send" => |args: &Args| args.bytes(0).to_vec();
    "doris_agg_state_typmod_in" => typmod_in;
    "doris_agg_state_typmod_out" => typmod_out;
    "doris_agg_state_typmod" => |args: &Args| {
        check_typmod(args.bytes(0), args.i32(1));
        args.datum(0).map(Raw)
    };
    "doris_agg_state" => of_row;
    "doris_agg_state_aggregate" => |args: &Args| shown(wire::stored(args.bytes(0)).name);
    "doris_agg_final" => |args: &Args| {
        args.datum(0)?;
        let mut machine = loaded(args.bytes(0));
        let result = finish(args, &mut machine);
        machine.end();
        result.map(Raw)
    };
    "doris_agg_union_trans" => union_trans;
    "doris_agg_union_combine" => union_combine;
    "doris_agg_union_serial" => union_final;
    "doris_agg_union_deserial" => |args: &Args| {
        let machine = Some(loaded(args.bytes(0)));
        Raw(pg_sys::Datum::from(PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(machine)))
    };
    "doris_agg_union_final" => union_final;
    "doris_agg_merge_final" => |args: &Args| {
        let machine = held(args, 0)?;
        finish(args, machine).map(Raw)
    };
}

fn current_context() -> pg_sys::MemoryContext {
    // SAFETY: a plain variable of this backend.
    unsafe { pg_sys::CurrentMemoryContext }
}

/// A machine that holds a stored state.
fn loaded(bytes: &[u8]) -> Machine {
    let parts = wire::stored(bytes);
    let mut machine = Machine::new(info::of_name(parts.name), current_context());
    machine.combine_stored(parts);
    machine
}

/// The bytes of `name=\xhex`, or of `name=` where the transition value is NULL.
fn from_text(text: &[u8]) -> Vec<u8> {
    let Some(at) = text.iter().rposition(|byte| *byte == b'=') else {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            format!(
                "invalid input syntax for type agg_state: \"{}\"",
                String::from_utf8_lossy(text)
            ),
        );
    };
    let value = (at + 1 < text.len()).then(|| from_hex(&text[at + 1..], "agg_state"));
    let parts = Parts {
        name: &text[..at],
        value: value.as_deref(),
    };
    parts.encode()
}

fn to_text(args: &Args) -> Cstring {
    let parts = wire::stored(args.bytes(0));
    let mut text = parts.name.to_vec();
    text.push(b'=');
    if let Some(value) = parts.value {
        text.extend_from_slice(&to_hex(value).0);
    }
    Cstring(text)
}

/// A state from outside: of an aggregate that can be stored, read and written once; of the one that the type
/// modifier names.
fn admitted(args: &Args, bytes: Vec<u8>) -> Vec<u8> {
    let Some(parts) = wire::parse(&bytes) else {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            "invalid agg_state value",
        );
    };
    let aggregate = info::of_name(parts.name);
    // SAFETY: a plain look-up.
    let trusted = unsafe { pg_sys::superuser() };
    if aggregate.state.is_internal() && parts.value.is_some() && !trusted {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!(
                "permission denied to read a state of {} from outside",
                shown(&aggregate.name)
            ),
            "The transition type is internal, whose functions trust what they read: a superuser may do this. \
             Make states with doris.agg_state().",
        );
    }
    let mut machine = loaded(&bytes);
    let clean = machine.encode();
    machine.end();
    check_typmod(&clean, args.i32(2));
    clean
}

/// The aggregate of a type modifier is its OID.
fn aggregate_of(typmod: i32) -> Option<Oid> {
    u32::try_from(typmod).ok().map(Oid::from)
}

fn check_typmod(bytes: &[u8], typmod: i32) {
    let Some(wanted) = aggregate_of(typmod) else {
        return;
    };
    let found = wire::stored(bytes).name;
    if found != pg::function_signature(wanted) && info::of_name(found).oid != wanted {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "a state of {} is not one of {}",
                shown(found),
                shown(&pg::function_signature(wanted))
            ),
            "The column's type names the aggregate of its states.",
        );
    }
}

fn typmod_in(args: &Args) -> i32 {
    let names = args.elements(0);
    let [Some(name)] = names[..] else {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "type agg_state takes one aggregate, as in agg_state('avg(numeric)')",
        );
    };
    // SAFETY: an element of a cstring array, which the input function of regprocedure may change.
    let oid = unsafe {
        let text = pg_sys::pstrdup(name.cast_mut_ptr());
        let function = Oid::from(pg_sys::F_REGPROCEDUREIN);
        let datum = pg_sys::OidInputFunctionCall(function, text, Oid::INVALID, -1);
        Oid::from(datum.value() as u32)
    };
    let aggregate = info::of_oid(oid);
    i32::try_from(oid.to_u32()).unwrap_or_else(|_| {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "the OID of {} is too large for a type modifier",
                shown(&aggregate.name)
            ),
            "Use agg_state without a modifier.",
        )
    })
}

fn typmod_out(args: &Args) -> Cstring {
    let name = aggregate_of(args.i32(0)).map(pg::function_signature);
    let quoted = name.map_or_else(String::new, |name| {
        format!("('{}')", shown(&name).replace('\'', "''"))
    });
    Cstring(quoted.into_bytes())
}

/// The state after one row.
fn of_row(args: &Args) -> Vec<u8> {
    if args.is_null(0) {
        fail(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "the aggregate of a state must not be null",
        );
    }
    let aggregate = info::of_oid(Oid::from(args.i32(0) as u32));
    let given = args.len() - 1;
    // SAFETY: flinfo belongs to the running call.
    let spread = unsafe { pg_sys::get_fn_expr_variadic((*args.fcinfo()).flinfo) };
    if given != aggregate.args.len() || spread {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!(
                "{} takes {} arguments, not {given}",
                shown(&aggregate.name),
                aggregate.args.len()
            ),
        );
    }
    for (at, wanted) in aggregate.args.iter().enumerate() {
        let found = args.type_of(at + 1);
        // SAFETY: a catalogue look-up.
        let fits = *wanted == pg_sys::ANYOID
            || found == *wanted
            || unsafe { pg_sys::IsBinaryCoercible(found, *wanted) };
        let null = args.is_null(at + 1) && found == pg_sys::UNKNOWNOID;
        if !fits && !null {
            let wanted = pg::type_name(*wanted);
            pg::refuse(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                format!(
                    "argument {} of {} has type {}, not {wanted}",
                    at + 1,
                    shown(&aggregate.name),
                    pg::type_name(found)
                ),
                &format!("Cast it to {wanted}."),
            );
        }
    }
    let mut machine = Machine::new(Rc::clone(&aggregate), current_context());
    let row: Vec<_> = (0..given).map(|at| args.datum(at + 1)).collect();
    machine.step(&row);
    let bytes = machine.encode();
    machine.end();
    bytes
}

/// The result, which must be of the type that the call names.
fn finish(args: &Args, machine: &mut Machine) -> Option<pg_sys::Datum> {
    // SAFETY: flinfo belongs to the running call.
    let wanted = unsafe { pg_sys::get_fn_expr_rettype((*args.fcinfo()).flinfo) };
    let found = machine.aggregate().result;
    if wanted != found {
        let found = pg::type_name(found);
        pg::refuse(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "{} returns {found}, not {}",
                shown(&machine.aggregate().name),
                pg::type_name(wanted)
            ),
            &format!("Give NULL::{found} as the last argument."),
        );
    }
    machine.finish()
}

/// The machine that is argument `i`, if a state was seen.
#[allow(clippy::mut_from_ref)] // The argument is only where the pointer is found; each is asked for once.
fn held(args: &Args, i: usize) -> Option<&mut Machine> {
    // SAFETY: a datum of type internal here was made by the functions below.
    args.datum(i)
        .and_then(|datum| unsafe { (*datum.cast_mut_ptr::<Option<Machine>>()).as_mut() })
}

fn aggregate_context(args: &Args) -> pg_sys::MemoryContext {
    let mut context = std::ptr::null_mut();
    // SAFETY: fcinfo is that of the running call.
    if unsafe { pg_sys::AggCheckCallContext(args.fcinfo(), &mut context) } == 0 {
        fail(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "the function may only be called by an aggregate",
        );
    }
    context
}

/// A machine in the context of the aggregate that runs.
fn place(context: pg_sys::MemoryContext, machine: Machine) -> Raw {
    let place = PgMemoryContexts::For(context).leak_and_drop_on_delete(Some(machine));
    Raw(pg_sys::Datum::from(place))
}

fn union_trans(args: &Args) -> Option<Raw> {
    let context = aggregate_context(args);
    if args.is_null(1) {
        return args.datum(0).map(Raw);
    }
    let parts = wire::stored(args.bytes(1));
    match held(args, 0) {
        Some(machine) => {
            machine.combine_stored(parts);
            args.datum(0).map(Raw)
        }
        None => {
            let mut machine = Machine::new(info::of_name(parts.name), context);
            machine.combine_stored(parts);
            Some(place(context, machine))
        }
    }
}

fn union_combine(args: &Args) -> Option<Raw> {
    let context = aggregate_context(args);
    let Some(other) = held(args, 1) else {
        return args.datum(0).map(Raw);
    };
    match held(args, 0) {
        Some(machine) => {
            let bytes = other.encode();
            machine.combine_stored(wire::stored(&bytes));
            args.datum(0).map(Raw)
        }
        None => {
            let bytes = other.encode();
            let parts = wire::stored(&bytes);
            let mut machine = Machine::new(info::of_name(parts.name), context);
            machine.combine_stored(parts);
            Some(place(context, machine))
        }
    }
}

fn union_final(args: &Args) -> Option<Vec<u8>> {
    held(args, 0).map(Machine::encode)
}
