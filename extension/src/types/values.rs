// SPDX-License-Identifier: Apache-2.0
//! Values whose type is known only at run time: copies of them that aggregate states own, and their comparison and
//! hashing by the type's own operators.
use super::shells::{element_shape, fail, output_text, varlena_bytes, Raw, TEXT_MAX};
use doris_engine::sketch::hash::{finish_64, murmur3_64};
use doris_engine::sketch::{Reader, SketchError};
use pgrx::pg_sys::{self, Datum, FmgrInfo, Oid};
use pgrx::PgSqlErrorCode;
use std::ffi::CStr;

/// A type, and the collation to compare its values under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeKey {
    /// The type.
    pub oid: Oid,
    /// The collation, or none.
    pub collation: Oid,
}

impl Default for TypeKey {
    fn default() -> Self {
        TypeKey {
            oid: Oid::INVALID,
            collation: Oid::INVALID,
        }
    }
}

/// Owned copies of values of one type. Those passed by reference share one buffer, aligned for any type.
#[derive(Debug, Clone, Default)]
pub struct Values {
    key: TypeKey,
    len: i16,
    byval: bool,
    /// By value: the datums. By reference: the bytes, each value from a word boundary on.
    words: Vec<u64>,
    /// By reference: where each value starts, in words.
    starts: Vec<usize>,
}

impl Values {
    /// No values yet, of this type.
    pub fn new(key: TypeKey) -> Self {
        let (len, byval, _) = element_shape(key.oid);
        Values {
            key,
            len,
            byval,
            words: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// The type of the values; invalid in a state that has seen none.
    pub fn key(&self) -> TypeKey {
        self.key
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        if self.byval {
            self.words.len()
        } else {
            self.starts.len()
        }
    }

    /// Copies a value of the type.
    pub fn push(&mut self, datum: Datum) {
        if self.words.len() >= TEXT_MAX / 8 {
            fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "too many values to be collected",
            );
        }
        if self.byval {
            self.words.push(datum.value() as u64);
            return;
        }
        // SAFETY: the datum is of the type, so that it points to as many bytes as the type's length says.
        let (header, bytes) = unsafe {
            match self.len {
                -1 => (true, varlena_bytes(datum)),
                -2 => (
                    false,
                    CStr::from_ptr(datum.cast_mut_ptr()).to_bytes_with_nul(),
                ),
                len => (
                    false,
                    std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), len as usize),
                ),
            }
        };
        self.push_bytes(header, bytes);
    }

    /// Whether a value is its datum.
    pub fn is_by_value(&self) -> bool {
        self.byval
    }

    /// Adds a value of a type of variable length, by its bytes behind the header.
    pub fn push_varlena(&mut self, bytes: &[u8]) {
        self.push_bytes(true, bytes);
    }

    /// A varlena gets a four-byte header, which every reader takes.
    fn push_bytes(&mut self, header: bool, bytes: &[u8]) {
        self.starts.push(self.words.len());
        let header = if header {
            varlena_header(bytes.len() + 4)
        } else {
            Vec::new()
        };
        let mut chunk = header;
        chunk.extend_from_slice(bytes);
        self.words.extend(chunk.chunks(8).map(|part| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            u64::from_ne_bytes(word)
        }));
    }

    /// Value `i`; by reference it points into `self`.
    pub fn get(&self, i: usize) -> Datum {
        if self.byval {
            Datum::from(self.words[i] as usize)
        } else {
            Datum::from(std::ptr::from_ref(&self.words[self.starts[i]]))
        }
    }

    /// Takes the last value out again.
    pub fn pop(&mut self) {
        let len = if self.byval {
            self.words.len() - 1
        } else {
            self.starts.pop().unwrap_or(0)
        };
        self.words.truncate(len);
    }

    /// Copies the values of another list of the same type.
    pub fn extend(&mut self, other: &Values) {
        if self.len() == 0 {
            *self = other.clone();
            return;
        }
        let base = self.words.len();
        self.words.extend_from_slice(&other.words);
        self.starts
            .extend(other.starts.iter().map(|start| start + base));
    }

    /// The bytes that [`Values::read`] reads, on the same machine.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.words.len() * 8 + self.starts.len() * 8 + 32);
        out.extend(u32::from(self.key.oid).to_le_bytes());
        out.extend(u32::from(self.key.collation).to_le_bytes());
        out.extend((self.words.len() as u64).to_le_bytes());
        out.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        out.extend((self.starts.len() as u64).to_le_bytes());
        out.extend(
            self.starts
                .iter()
                .flat_map(|start| (*start as u64).to_le_bytes()),
        );
        out
    }

    /// Reads values back.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, SketchError> {
        let key = TypeKey {
            oid: Oid::from(reader.u32()?),
            collation: Oid::from(reader.u32()?),
        };
        let words = (0..reader.count(8)?)
            .map(|_| reader.u64())
            .collect::<Result<Vec<u64>, _>>()?;
        let starts = (0..reader.count(8)?)
            .map(|_| Ok(reader.u64()? as usize))
            .collect::<Result<Vec<usize>, SketchError>>()?;
        if starts.iter().any(|start| *start >= words.len()) {
            return Err(SketchError::Corrupt("a value lies outside the state"));
        }
        if key.oid == Oid::INVALID {
            return Ok(Values::default());
        }
        Ok(Values {
            words,
            starts,
            ..Values::new(key)
        })
    }
}

fn varlena_header(size: usize) -> Vec<u8> {
    let mut header = pg_sys::varlena::default();
    if size > i32::MAX as usize >> 2 {
        fail(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "a value is too long to be collected",
        );
    }
    // SAFETY: the header is ours, and four bytes long.
    unsafe { pgrx::varlena::set_varsize_4b(&mut header, size as i32) };
    header.vl_len_.iter().map(|byte| *byte as u8).collect()
}

/// A function of a type, from the type cache, whose entries last as long as the session.
#[derive(Debug, Clone, Copy)]
pub struct Comparer {
    function: *mut pg_sys::FmgrInfo,
    collation: Oid,
}

fn cached(key: TypeKey, flag: u32) -> &'static mut pg_sys::TypeCacheEntry {
    // SAFETY: the look-up returns an entry that is never freed.
    unsafe { &mut *pg_sys::lookup_type_cache(key.oid, flag as i32) }
}

impl Comparer {
    fn new(function: &mut pg_sys::FmgrInfo, key: TypeKey, what: &str) -> Self {
        if function.fn_oid == Oid::INVALID {
            let name = crate::pg::type_name(key.oid);
            fail(
                PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
                format!("could not identify {what} for type {name}"),
            );
        }
        Comparer {
            function,
            collation: key.collation,
        }
    }

    /// The type's equality.
    pub fn equality(key: TypeKey) -> Self {
        let entry = cached(key, pg_sys::TYPECACHE_EQ_OPR_FINFO);
        Self::new(&mut entry.eq_opr_finfo, key, "an equality operator")
    }

    /// The type's order.
    pub fn order(key: TypeKey) -> Self {
        let entry = cached(key, pg_sys::TYPECACHE_CMP_PROC_FINFO);
        Self::new(&mut entry.cmp_proc_finfo, key, "a comparison function")
    }

    fn hash(key: TypeKey) -> Self {
        let entry = cached(key, pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO);
        Self::new(
            &mut entry.hash_extended_proc_finfo,
            key,
            "an extended hash function",
        )
    }

    fn call(&self, a: Datum, b: Datum) -> Datum {
        // SAFETY: the function lives in the type cache, and its arguments are of its type.
        unsafe { pg_sys::FunctionCall2Coll(self.function, self.collation, a, b) }
    }

    /// Whether two values are equal, for [`Comparer::equality`].
    pub fn equal(&self, a: Datum, b: Datum) -> bool {
        self.call(a, b).value() as u8 != 0
    }

    /// How two values compare, for [`Comparer::order`].
    pub fn compare(&self, a: Datum, b: Datum) -> std::cmp::Ordering {
        (self.call(a, b).value() as i32).cmp(&0)
    }
}

/// Hashes values so that equal ones share a hash.
#[derive(Debug, Clone, Copy)]
pub enum Hasher {
    /// Integers and types stored as one: the datum is the value.
    Word,
    /// Text under a collation that calls only identical strings equal.
    Bytes,
    /// Any other type, by its own function.
    Function(Comparer),
}

impl Hasher {
    /// The hasher of a type.
    pub fn new(key: TypeKey) -> Self {
        match key.oid {
            pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::DATEOID
            | pg_sys::BOOLOID => Hasher::Word,
            pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID | pg_sys::OIDOID => Hasher::Word,
            pg_sys::TEXTOID | pg_sys::VARCHAROID if deterministic(key.collation) => Hasher::Bytes,
            _ => Hasher::Function(Comparer::hash(key)),
        }
    }

    /// The hash of a value of the type.
    #[inline]
    pub fn hash(&self, value: Datum) -> u64 {
        match self {
            Hasher::Word => finish_64(value.value() as u64),
            // SAFETY: the hasher was made for a text type.
            Hasher::Bytes => murmur3_64(unsafe { varlena_bytes(value) }, 0),
            // The types' functions mix well except in their upper half, where the registers are chosen.
            Hasher::Function(function) => {
                finish_64(function.call(value, Datum::from(0usize)).value() as u64)
            }
        }
    }
}

fn deterministic(collation: Oid) -> bool {
    // SAFETY: a catalog look-up.
    collation != Oid::INVALID && unsafe { pg_sys::get_collation_isdeterministic(collation) }
}

impl Values {
    /// A copy of value `i` to be returned.
    pub fn reply(&self, i: usize) -> Raw {
        if self.byval {
            return Raw(self.get(i));
        }
        let end = self.starts.get(i + 1).copied().unwrap_or(self.words.len());
        let words = &self.words[self.starts[i]..end];
        // SAFETY: palloc returns as many bytes as are copied, aligned for any type.
        unsafe {
            let copy = pg_sys::palloc(words.len() * 8).cast::<u64>();
            std::ptr::copy_nonoverlapping(words.as_ptr(), copy, words.len());
            Raw(Datum::from(copy))
        }
    }
}

/// The JSON of a value of type `oid`, as `to_jsonb` has it.
pub fn to_json(value: Option<Datum>, oid: Oid) -> Vec<u8> {
    let Some(value) = value else {
        return b"null".to_vec();
    };
    let (function, jsonb) = (Oid::from(pg_sys::F_TO_JSONB), pg_sys::JSONBOID);
    let mut output = FmgrInfo::default();
    // SAFETY: to_jsonb reads its argument's type from the expression that it is called for, which is made here in the
    // current memory context and outlives the call.
    unsafe {
        let argument = pg_sys::makeNullConst(oid, -1, Oid::INVALID);
        let arguments = pg_sys::lappend(std::ptr::null_mut(), argument.cast());
        let format = pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
        let call = pg_sys::makeFuncExpr(
            function,
            jsonb,
            arguments,
            Oid::INVALID,
            Oid::INVALID,
            format,
        );
        pg_sys::fmgr_info(function, &mut output);
        output.fn_expr = call.cast();
        let json = pg_sys::FunctionCall1Coll(&mut output, Oid::INVALID, value);
        output_text(json, jsonb)
    }
}

/// A jsonb of its text.
pub fn jsonb_of(mut text: Vec<u8>) -> Option<Raw> {
    text.push(0);
    // SAFETY: jsonb_in takes a C string, which `text` now is.
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(Datum::from(text.as_ptr()))])
    }
    .map(Raw)
}
