// SPDX-License-Identifier: Apache-2.0
//! What an aggregate is made of, and whether its states can be stored.
use super::super::shells::element_shape;
use crate::pg::{self, compat, raw};
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{pg_guard, PgSqlErrorCode};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// An aggregate.
pub struct Aggregate {
    /// Its number as a function.
    pub oid: Oid,
    /// With its schema and argument types.
    pub name: Vec<u8>,
    /// The transition function.
    pub trans: Oid,
    /// The final function; invalid where the state is the result.
    pub finish: Oid,
    /// The final function takes arguments for those of the aggregate, too.
    pub finish_extra: bool,
    /// The function that makes one state of two; invalid where there is none.
    pub combine: Oid,
    /// The types of its arguments.
    pub args: Vec<Oid>,
    /// The type of its result.
    pub result: Oid,
    /// That of the arguments, if they have one: the database's.
    pub collation: Oid,
    /// The first transition value as text, unless that is NULL.
    pub initial: Option<CString>,
    /// The type of its transition value.
    pub state: StateType,
}

/// The type of an aggregate's transition value.
pub struct StateType {
    /// The type.
    pub oid: Oid,
    /// Bytes of a value; negative where they vary.
    pub len: i16,
    /// Values are passed as Datums, not by reference.
    pub byval: bool,
    /// From a value to bytes: the serialisation function, or the type's send function.
    pub write: Oid,
    /// Back: the deserialisation function, or the type's receive function.
    pub read: Oid,
    /// For the receive function.
    pub param: Oid,
}

impl StateType {
    /// Whether it is `internal`.
    pub fn is_internal(&self) -> bool {
        self.oid == pg_sys::INTERNALOID
    }
}

// Columns of pg_aggregate (catalog/pg_aggregate.h), the same in all versions.
const KIND: i16 = 2;
const TRANS: i16 = 4;
const FINISH: i16 = 5;
const COMBINE: i16 = 6;
const SERIAL: i16 = 7;
const DESERIAL: i16 = 8;
const FINISH_EXTRA: i16 = 12;
const TRANS_TYPE: i16 = 17;
const INITIAL: i16 = 21;

thread_local! {
    static BY_NAME: RefCell<HashMap<Vec<u8>, Rc<Aggregate>>> = RefCell::default();
}

/// Registers the callbacks that forget what changes of the catalogue concern.
///
/// # Safety
/// Called once, while the library is loaded.
pub unsafe fn install() {
    use pg_sys::SysCacheIdentifier::*;
    for cache in [AGGFNOID, PROCOID, TYPEOID, NAMESPACEOID] {
        // SAFETY: passed on to the caller.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(invalidate), Datum::from(0));
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn invalidate(_arg: Datum, _cache: i32, _hash: u32) {
    let dropped = BY_NAME.take();
    drop(dropped);
}

/// The aggregate that a state names, which the user must be allowed to call.
pub fn of_name(name: &[u8]) -> Rc<Aggregate> {
    let known = BY_NAME.with_borrow(|known| known.get(name).cloned());
    let found = known.unwrap_or_else(|| {
        let text = CString::new(name).unwrap_or_default();
        let function = Oid::from(pg_sys::F_REGPROCEDUREIN);
        // SAFETY: the input function of regprocedure on a string that it may change.
        let datum = unsafe {
            let text = pg_sys::pstrdup(text.as_ptr());
            pg_sys::OidInputFunctionCall(function, text, Oid::INVALID, -1)
        };
        let found = Rc::new(load(Oid::from(datum.value() as u32)));
        if found.name == name {
            let copy = Rc::clone(&found);
            BY_NAME.with_borrow_mut(|known| known.insert(name.to_vec(), copy));
        }
        found
    });
    check_allowed(&found);
    found
}

/// An aggregate, which the user must be allowed to call.
pub fn of_oid(oid: Oid) -> Rc<Aggregate> {
    let found = load(oid);
    check_allowed(&found);
    Rc::new(found)
}

fn check_allowed(aggregate: &Aggregate) {
    if !compat::may_execute(aggregate.oid) {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for aggregate {}", shown(&aggregate.name)),
            "",
        );
    }
}

/// A name for messages.
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn refuse(name: &[u8], why: &str, hint: &str) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("states of {} cannot be stored: {why}", shown(name)),
        hint,
    )
}

fn load(oid: Oid) -> Aggregate {
    let name = pg::function_signature(oid);
    let none = Datum::from(0);
    let cache = pg_sys::SysCacheIdentifier::AGGFNOID as i32;
    // SAFETY: a cache look-up; the tuple is released once its columns are copied.
    unsafe {
        let tuple = pg_sys::SearchSysCache(cache, oid.into(), none, none, none);
        if tuple.is_null() {
            pg::refuse(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                format!("{} is not an aggregate", shown(&name)),
                "Name an aggregate with its argument types, as in avg(numeric).",
            );
        }
        let column = |number: i16| {
            let mut null = true;
            let datum = pg_sys::SysCacheGetAttr(cache, tuple, number, &mut null);
            (!null).then_some(datum)
        };
        let function =
            |number: i16| column(number).map_or(Oid::INVALID, |d| Oid::from(d.value() as u32));
        let kind = column(KIND).map_or(0, |d| d.value() as u8);
        let state = function(TRANS_TYPE);
        let initial = column(INITIAL).map(|datum| {
            let text = pg_sys::text_to_cstring(datum.cast_mut_ptr());
            CStr::from_ptr(text).to_owned()
        });
        let mut found = Aggregate {
            oid,
            trans: function(TRANS),
            finish: function(FINISH),
            finish_extra: column(FINISH_EXTRA).is_some_and(|d| d.value() as u8 != 0),
            combine: function(COMBINE),
            args: Vec::new(),
            result: Oid::INVALID,
            collation: Oid::INVALID,
            initial,
            state: StateType {
                oid: state,
                len: 0,
                byval: false,
                write: function(SERIAL),
                read: function(DESERIAL),
                param: Oid::INVALID,
            },
            name,
        };
        pg_sys::ReleaseSysCache(tuple);
        if kind != b'n' {
            refuse(
                &found.name,
                "it is an ordered-set aggregate",
                "Ordinary aggregates with a combine function can be stored.",
            );
        }
        complete(&mut found);
        found
    }
}

/// Adds what types say, and refuses what cannot be stored.
unsafe fn complete(found: &mut Aggregate) {
    // SAFETY: catalogue look-ups of a function and types that exist.
    unsafe {
        let (mut types, mut count) = (std::ptr::null_mut(), 0);
        found.result = raw::function_signature(found.oid, &mut types, &mut count);
        if count > 0 {
            found.args = std::slice::from_raw_parts(types, count as usize).to_vec();
        }
        let polymorphic = |oid: &Oid| polymorphic(*oid);
        if found.args.iter().any(polymorphic)
            || polymorphic(&found.result)
            || polymorphic(&found.state.oid)
        {
            refuse(
                &found.name,
                "its types are polymorphic",
                "Aggregates of certain types can be stored, such as max(integer).",
            );
        }
        if found.combine == Oid::INVALID {
            refuse(
                &found.name,
                "it has no combine function",
                "Aggregates that PostgreSQL can run in parallel have one.",
            );
        }
        let collatable = |oid: &Oid| pg_sys::type_is_collatable(*oid);
        if found.args.iter().any(collatable) {
            found.collation = pg_sys::DEFAULT_COLLATION_OID;
        }
        let state = &mut found.state;
        (state.len, state.byval, _) = element_shape(state.oid);
        if !state.is_internal() {
            let mut varlena = false;
            pg_sys::getTypeBinaryOutputInfo(state.oid, &mut state.write, &mut varlena);
            pg_sys::getTypeBinaryInputInfo(state.oid, &mut state.read, &mut state.param);
        } else if state.write == Oid::INVALID || state.read == Oid::INVALID {
            refuse(
                &found.name,
                "its state has no serialisation function",
                "Aggregates that PostgreSQL can run in parallel workers have one.",
            );
        }
    }
}

/// Types that stand for others; `any` is left to the function, as count takes it.
fn polymorphic(oid: Oid) -> bool {
    const ANY: [Oid; 11] = [
        pg_sys::ANYELEMENTOID,
        pg_sys::ANYARRAYOID,
        pg_sys::ANYNONARRAYOID,
        pg_sys::ANYENUMOID,
        pg_sys::ANYRANGEOID,
        pg_sys::ANYMULTIRANGEOID,
        pg_sys::ANYCOMPATIBLEOID,
        pg_sys::ANYCOMPATIBLEARRAYOID,
        pg_sys::ANYCOMPATIBLENONARRAYOID,
        pg_sys::ANYCOMPATIBLERANGEOID,
        pg_sys::ANYCOMPATIBLEMULTIRANGEOID,
    ];
    ANY.contains(&oid)
}
