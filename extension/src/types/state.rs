// SPDX-License-Identifier: Apache-2.0
//! Aggregate states: Rust values that PostgreSQL passes around as `internal`, dropped with the aggregate's memory
//! context. A state is serialised only when it leaves its process.
use super::shells::{fail, Args, OrFail, Raw};
use doris_engine::sketch::SketchError;
use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys::{self, Datum};
use pgrx::PgSqlErrorCode;

/// A state that parallel workers can build parts of.
pub trait State: Default + 'static {
    /// Adds what the other state has seen.
    fn merge(&mut self, other: &Self);
    /// The bytes that [`State::read`] reads.
    fn write(&mut self) -> Vec<u8>;
    /// A state from bytes.
    fn read(bytes: &[u8]) -> Result<Self, SketchError>;
}

/// The state that is argument `i`.
///
/// A `T` other than the one that the aggregate's functions agreed on would be undefined behaviour: the functions of one
/// aggregate name the same type, and SQL cannot make a value of type internal.
///
/// Each function here asks for the state of an argument once in a call, so that the reference is the only one.
#[allow(clippy::mut_from_ref)] // The arguments are only where the pointer is found.
#[inline]
pub fn existing<T: 'static>(args: &Args, i: usize) -> Option<&mut T> {
    // SAFETY: a datum of type internal here was made by `place` for this aggregate and lives as long as its context;
    // a call has the only reference to it.
    args.datum(i)
        .map(|datum| unsafe { &mut *datum.cast_mut_ptr::<T>() })
}

/// The state of a transition or combine function, made when it is the first call of the group.
#[allow(clippy::mut_from_ref)] // As for `existing`.
#[inline]
pub fn current<T: Default + 'static>(args: &Args) -> &mut T {
    match existing(args, 0) {
        Some(state) => state,
        None => {
            let mut context = std::ptr::null_mut();
            // SAFETY: fcinfo is that of the running call.
            if unsafe { pg_sys::AggCheckCallContext(args.fcinfo(), &mut context) } == 0 {
                fail(
                    PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                    "the function may only be called by an aggregate",
                );
            }
            let state = PgMemoryContexts::For(context).leak_and_drop_on_delete(T::default());
            // SAFETY: just made, and nobody else knows it.
            unsafe { &mut *state }
        }
    }
}

/// A state as a datum.
pub fn datum_of<T>(state: &mut T) -> Raw {
    Raw(Datum::from(std::ptr::from_mut(state)))
}

/// A transition function: the state, after `step` has seen the arguments.
#[inline]
pub fn transition<T: Default + 'static>(args: &Args, step: impl FnOnce(&mut T)) -> Raw {
    let state = current::<T>(args);
    step(state);
    datum_of(state)
}

/// A combine function.
pub fn combine<T: State>(args: &Args) -> Option<Raw> {
    let Some(other) = existing::<T>(args, 1) else {
        return args.datum(0).map(Raw);
    };
    let state = current::<T>(args);
    state.merge(other);
    Some(datum_of(state))
}

/// A serialisation function.
pub fn serial<T: State>(args: &Args) -> Option<Vec<u8>> {
    existing::<T>(args, 0).map(T::write)
}

/// A deserialisation function. Its result lives as long as the row it came with.
pub fn deserial<T: State>(args: &Args) -> Raw {
    let state = T::read(args.bytes(0)).or_corrupt("aggregate state");
    Raw(Datum::from(
        PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(state),
    ))
}
