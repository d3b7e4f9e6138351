// SPDX-License-Identifier: Apache-2.0
//! From a SQL function to a Rust function: [`sql_functions!`] makes the C entry points, [`Args`] reads arguments with
//! every check, [`Reply`] makes a datum of the result. Types of our own with variadic and polymorphic arguments need
//! their SQL written by hand anyway, so nothing here describes functions to a generator.
use doris_engine::sketch::SketchError;
use pgrx::pg_sys::{self, Datum, FunctionCallInfo, Oid};
use pgrx::{varlena, PgSqlErrorCode};
use std::borrow::Cow;
use std::ffi::CStr;

/// Makes entry points: `"symbol" => function`, where the function takes `&Args` and returns a [`Reply`].
macro_rules! sql_functions {
    ($($symbol:literal => $function:expr;)*) => { $(
        const _: () = {
            #[unsafe(export_name = concat!("pg_finfo_", $symbol))]
            extern "C" fn finfo() -> &'static ::pgrx::pg_sys::Pg_finfo_record {
                const V1: ::pgrx::pg_sys::Pg_finfo_record = ::pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
            #[unsafe(export_name = $symbol)]
            unsafe extern "C-unwind" fn entry(fcinfo: ::pgrx::pg_sys::FunctionCallInfo) -> ::pgrx::pg_sys::Datum {
                // SAFETY: PostgreSQL calls with a valid fcinfo that outlives the call; the guard turns panics into
                // errors before they reach C.
                unsafe {
                    ::pgrx::pg_sys::submodules::panic::pgrx_extern_c_guard(move || {
                        let args = $crate::types::shells::Args::new(fcinfo);
                        $crate::types::shells::Reply::reply($function(&args), &args)
                    })
                }
            }
        };
    )* };
}
pub(crate) use sql_functions;

/// The longest text that a datum can hold.
pub const TEXT_MAX: usize = (1 << 30) - 64;

/// Raises an error.
pub fn fail(code: PgSqlErrorCode, message: impl Into<String>) -> ! {
    pgrx::ereport!(ERROR, code, message.into());
}

/// Raises the error for an argument that the function does not take.
pub fn fail_argument(message: impl Into<String>) -> ! {
    fail(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
}

/// A sketch, or the error that its bytes deserve.
pub trait OrFail<T> {
    /// For bytes that were stored.
    fn or_corrupt(self, kind: &str) -> T;
    /// For bytes that a client sent.
    fn or_invalid(self, kind: &str) -> T;
}

impl<T> OrFail<T> for Result<T, SketchError> {
    fn or_corrupt(self, kind: &str) -> T {
        self.unwrap_or_else(|error| {
            fail(
                PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                format!("invalid {kind} value: {error}"),
            )
        })
    }

    fn or_invalid(self, kind: &str) -> T {
        self.unwrap_or_else(|error| {
            fail(
                PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
                format!("invalid {kind} value: {error}"),
            )
        })
    }
}

/// The arguments of one call.
pub struct Args {
    fcinfo: FunctionCallInfo,
}

impl Args {
    /// # Safety
    /// `fcinfo` is that of the running call, and its arguments are of the types that the SQL declaration names.
    pub unsafe fn new(fcinfo: FunctionCallInfo) -> Self {
        Args { fcinfo }
    }

    /// The call's own structure.
    pub fn fcinfo(&self) -> FunctionCallInfo {
        self.fcinfo
    }

    /// How many arguments there are.
    pub fn len(&self) -> usize {
        // SAFETY: see `new`.
        unsafe { (*self.fcinfo).nargs as usize }
    }

    fn slot(&self, i: usize) -> &pg_sys::NullableDatum {
        assert!(i < self.len(), "the function lacks argument {i}");
        // SAFETY: PostgreSQL fills `nargs` slots.
        unsafe { &*(*self.fcinfo).args.as_ptr().add(i) }
    }

    /// Whether argument `i` is NULL.
    #[inline]
    pub fn is_null(&self, i: usize) -> bool {
        self.slot(i).isnull
    }

    /// Argument `i` as it is.
    #[inline]
    pub fn datum(&self, i: usize) -> Option<Datum> {
        let slot = self.slot(i);
        (!slot.isnull).then_some(slot.value)
    }

    fn not_null(&self, i: usize) -> Datum {
        self.datum(i).unwrap_or_else(|| {
            fail(
                PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("argument {} must not be null", i + 1),
            )
        })
    }

    /// A bigint.
    pub fn i64(&self, i: usize) -> i64 {
        self.not_null(i).value() as i64
    }

    /// An integer.
    pub fn i32(&self, i: usize) -> i32 {
        self.not_null(i).value() as i32
    }

    /// A double precision.
    pub fn f64(&self, i: usize) -> f64 {
        f64::from_bits(self.not_null(i).value() as u64)
    }

    /// The bytes of a text, bytea, bitmap or another type of variable length.
    pub fn bytes(&self, i: usize) -> &[u8] {
        // SAFETY: the SQL declaration gives such an argument a varlena type.
        unsafe { varlena_bytes(self.not_null(i)) }
    }

    /// The characters of a cstring.
    pub fn cstring(&self, i: usize) -> &[u8] {
        // SAFETY: the SQL declaration gives such an argument the type cstring.
        unsafe { CStr::from_ptr(self.not_null(i).cast_mut_ptr()) }.to_bytes()
    }

    /// What is left in the buffer of a receive function.
    pub fn message(&self, i: usize) -> &[u8] {
        let buffer = self.not_null(i).cast_mut_ptr::<pg_sys::StringInfoData>();
        // SAFETY: a receive function's first argument is a StringInfo whose cursor is within its length.
        unsafe {
            let (start, end) = ((*buffer).cursor as usize, (*buffer).len as usize);
            (*buffer).cursor = (*buffer).len;
            std::slice::from_raw_parts((*buffer).data.cast::<u8>().add(start), end - start)
        }
    }

    /// The elements of an array.
    pub fn elements(&self, i: usize) -> Vec<Option<Datum>> {
        // SAFETY: the SQL declaration gives such an argument an array type.
        unsafe { array_elements(self.not_null(i)) }
    }

    /// The type of argument `i` in the calling query.
    pub fn type_of(&self, i: usize) -> Oid {
        // SAFETY: flinfo belongs to the running call.
        unsafe { pg_sys::get_fn_expr_argtype((*self.fcinfo).flinfo, i as i32) }
    }

    /// The collation of the call.
    pub fn collation(&self) -> Oid {
        // SAFETY: see `new`.
        unsafe { (*self.fcinfo).fncollation }
    }

    /// The text of a value of any type, as its output function writes it.
    pub fn text_of(&self, i: usize) -> Cow<'_, [u8]> {
        let oid = self.type_of(i);
        match oid {
            pg_sys::TEXTOID | pg_sys::VARCHAROID => Cow::Borrowed(self.bytes(i)),
            pg_sys::INT8OID => Cow::Owned(self.i64(i).to_string().into_bytes()),
            pg_sys::INT4OID => Cow::Owned(self.i32(i).to_string().into_bytes()),
            _ => Cow::Owned(output_text(self.not_null(i), oid)),
        }
    }
}

/// What the output function of type `oid` makes of a value.
pub fn output_text(value: Datum, oid: Oid) -> Vec<u8> {
    let (mut function, mut is_varlena) = (Oid::INVALID, false);
    // SAFETY: the value is of type `oid`; the output function returns a palloc'd C string.
    unsafe {
        pg_sys::getTypeOutputInfo(oid, &mut function, &mut is_varlena);
        let text = pg_sys::OidOutputFunctionCall(function, value);
        let bytes = CStr::from_ptr(text).to_bytes().to_vec();
        pg_sys::pfree(text.cast());
        bytes
    }
}

/// The bytes of a varlena, detoasted where necessary.
///
/// # Safety
/// The datum points to a varlena that lives as long as the result is used (a detoasted copy lives until the current
/// memory context is reset).
#[inline]
pub unsafe fn varlena_bytes<'a>(datum: Datum) -> &'a [u8] {
    let mut pointer = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller's promise. Detoasting costs a guarded call, which most values do not need.
    unsafe {
        let short = varlena::varatt_is_1b(pointer) && !varlena::varatt_is_1b_e(pointer);
        if !short && !varlena::varatt_is_4b_u(pointer) {
            pointer = pg_sys::pg_detoast_datum_packed(pointer);
        }
        varlena::varlena_to_byte_slice(pointer)
    }
}

/// The elements of an array; `None` is NULL.
///
/// # Safety
/// The datum points to an array, which the elements may point into.
pub unsafe fn array_elements(datum: Datum) -> Vec<Option<Datum>> {
    // SAFETY: the caller's promise; the out parameters are filled by deconstruct_array with arrays of `count`.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        let (len, byval, align) = element_shape((*array).elemtype);
        pg_sys::deconstruct_array(
            array,
            (*array).elemtype,
            i32::from(len),
            byval,
            align,
            &mut values,
            &mut nulls,
            &mut count,
        );
        (0..count as usize)
            .map(|i| (!*nulls.add(i)).then(|| *values.add(i)))
            .collect()
    }
}

/// Length, passing by value and alignment of a type, without a look-up for the usual ones.
pub fn element_shape(oid: Oid) -> (i16, bool, std::ffi::c_char) {
    match oid {
        pg_sys::BOOLOID => (1, true, b'c' as _),
        pg_sys::INT4OID => (4, true, b'i' as _),
        pg_sys::INT8OID | pg_sys::FLOAT8OID => (8, true, b'd' as _),
        pg_sys::TEXTOID => (-1, false, b'i' as _),
        _ => {
            let (mut len, mut byval, mut align) = (0, false, 0);
            // SAFETY: three out parameters.
            unsafe { pg_sys::get_typlenbyvalalign(oid, &mut len, &mut byval, &mut align) };
            (len, byval, align)
        }
    }
}

/// An array of type `oid`; the elements may be gone afterwards.
pub fn array_of(elements: &mut [Datum], oid: Oid) -> Raw {
    let (len, byval, align) = element_shape(oid);
    // SAFETY: the elements are of type `oid`, whose shape was just looked up.
    let array = unsafe {
        pg_sys::construct_array(
            elements.as_mut_ptr(),
            elements.len() as i32,
            oid,
            i32::from(len),
            byval,
            align,
        )
    };
    Raw(Datum::from(array))
}

/// A result.
pub trait Reply {
    /// The result as a datum.
    fn reply(self, args: &Args) -> Datum;
}

/// A datum that is ready to be returned.
pub struct Raw(pub Datum);

/// Bytes that become a C string.
pub struct Cstring(pub Vec<u8>);

impl Reply for Raw {
    fn reply(self, _: &Args) -> Datum {
        self.0
    }
}

impl Reply for bool {
    fn reply(self, _: &Args) -> Datum {
        Datum::from(self)
    }
}

impl Reply for i32 {
    fn reply(self, _: &Args) -> Datum {
        Datum::from(self)
    }
}

impl Reply for i64 {
    fn reply(self, _: &Args) -> Datum {
        Datum::from(self)
    }
}

impl Reply for u64 {
    fn reply(self, args: &Args) -> Datum {
        match i64::try_from(self) {
            Ok(value) => value.reply(args),
            Err(_) => fail(
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                "bigint out of range",
            ),
        }
    }
}

impl Reply for f64 {
    fn reply(self, _: &Args) -> Datum {
        Datum::from(self.to_bits() as usize)
    }
}

impl Reply for &[u8] {
    fn reply(self, _: &Args) -> Datum {
        let size = self.len() + pg_sys::VARHDRSZ;
        // SAFETY: palloc returns `size` bytes or raises an error (above 1 GB too, so that the length fits an i32).
        unsafe {
            let pointer = pg_sys::palloc(size).cast::<pg_sys::varlena>();
            varlena::set_varsize_4b(pointer, size as i32);
            std::ptr::copy_nonoverlapping(
                self.as_ptr(),
                pointer.cast::<u8>().add(pg_sys::VARHDRSZ),
                self.len(),
            );
            Datum::from(pointer)
        }
    }
}

impl<const N: usize> Reply for [u8; N] {
    fn reply(self, args: &Args) -> Datum {
        self.as_slice().reply(args)
    }
}

impl Reply for Vec<u8> {
    fn reply(self, args: &Args) -> Datum {
        self.as_slice().reply(args)
    }
}

impl Reply for String {
    fn reply(self, args: &Args) -> Datum {
        self.as_bytes().reply(args)
    }
}

impl Reply for Cstring {
    fn reply(self, _: &Args) -> Datum {
        let Cstring(bytes) = self;
        // SAFETY: palloc returns room for the bytes and a final zero, or raises an error.
        unsafe {
            let pointer = pg_sys::palloc(bytes.len() + 1).cast::<u8>();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, bytes.len());
            *pointer.add(bytes.len()) = 0;
            Datum::from(pointer)
        }
    }
}

impl<T: Reply> Reply for Option<T> {
    fn reply(self, args: &Args) -> Datum {
        match self {
            Some(value) => value.reply(args),
            None => {
                // SAFETY: see `Args::new`.
                unsafe { (*args.fcinfo()).isnull = true };
                Datum::from(0usize)
            }
        }
    }
}

/// The opaque text of a sketch: hexadecimal as PostgreSQL writes bytea.
pub fn to_hex(bytes: &[u8]) -> Cstring {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| {
        [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]
    });
    Cstring(b"\\x".iter().copied().chain(digits).collect())
}

/// The bytes of an opaque text; an error when it is not one of type `kind`.
pub fn from_hex(text: &[u8], kind: &str) -> Vec<u8> {
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    let digits = text
        .trim_ascii()
        .strip_prefix(b"\\x")
        .filter(|digits| digits.len() % 2 == 0);
    let bytes: Option<Vec<u8>> = digits.and_then(|digits| {
        digits
            .chunks_exact(2)
            .map(|two| Some(digit(&two[0])? << 4 | digit(&two[1])?))
            .collect()
    });
    bytes.unwrap_or_else(|| invalid_text(text, kind))
}

/// Raises the error for text that is not of type `kind`.
pub fn invalid_text(text: &[u8], kind: &str) -> ! {
    let text = String::from_utf8_lossy(text);
    fail(
        PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {kind}: \"{text}\""),
    )
}
