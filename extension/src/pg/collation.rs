// SPDX-License-Identifier: Apache-2.0
//! Orders of text in libc's and ICU's locales, as PostgreSQL has them, for any thread.
//!
//! PostgreSQL compares with `strcoll_l` and `ucol_strcollUTF8`, and abbreviates with `ucol_nextSortKeyPart`. They only
//! read the locale, and may be called by many threads at once; PostgreSQL's own functions around them may not.
use super::raw;
use doris_engine::collate::{LocaleOrder, TextOrder};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::{c_char, c_void, CStr, CString};
use std::sync::OnceLock;

/// An order by libc.
#[derive(Debug)]
struct Libc {
    locale: libc::locale_t,
}

// SAFETY: a locale object that nobody changes or frees.
unsafe impl Send for Libc {}
// SAFETY: as above; strcoll_l only reads it.
unsafe impl Sync for Libc {}

/// The longest text that is copied to the stack, its terminator included.
const ON_STACK: usize = 512;

extern "C" {
    fn strcoll_l(a: *const c_char, b: *const c_char, locale: libc::locale_t) -> i32;
}

impl TextOrder for Libc {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        terminated(a, |a| {
            terminated(b, |b| {
                // SAFETY: terminated strings and a valid locale.
                let order = unsafe { strcoll_l(a, b, self.locale) };
                order.cmp(&0)
            })
        })
    }
}

/// Calls `f` with a copy of a text that has a 0 behind it.
fn terminated<T>(text: &[u8], f: impl FnOnce(*const c_char) -> T) -> T {
    let mut stack = [0u8; ON_STACK];
    if let Some(copy) = stack
        .get_mut(..text.len())
        .filter(|_| text.len() < ON_STACK)
    {
        copy.copy_from_slice(text);
        return f(stack.as_ptr().cast());
    }
    let mut copy = Vec::with_capacity(text.len() + 1);
    copy.extend_from_slice(text);
    copy.push(0);
    f(copy.as_ptr().cast())
}

type Compare =
    unsafe extern "C" fn(*const c_void, *const c_char, i32, *const c_char, i32, *mut i32) -> i32;

type StartText = unsafe extern "C" fn(*mut c_void, *const c_char, i32);

type NextKeyPart =
    unsafe extern "C" fn(*const c_void, *mut c_void, *mut u32, *mut u8, i32, *mut i32) -> i32;

/// ICU's functions.
#[derive(Clone, Copy, Debug)]
struct Functions {
    compare: Compare,
    /// Makes an iterator over UTF-8.
    start: StartText,
    /// The next bytes of a sort key.
    next_part: NextKeyPart,
}

/// Words of an iterator of ICU's (`UCharIterator`), and to spare.
const ITERATOR_WORDS: usize = 32;

/// An order by ICU, of text in UTF-8.
#[derive(Debug)]
struct Icu {
    collator: *const c_void,
    functions: Functions,
}

// SAFETY: a collator that PostgreSQL keeps for as long as the process lives, and that nobody changes.
unsafe impl Send for Icu {}
// SAFETY: as above; comparing only reads it.
unsafe impl Sync for Icu {}

impl TextOrder for Icu {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let mut status = 0;
        // SAFETY: texts with their lengths, which PostgreSQL bounds, and a valid collator.
        let order = unsafe {
            (self.functions.compare)(
                self.collator,
                a.as_ptr().cast(),
                a.len() as i32,
                b.as_ptr().cast(),
                b.len() as i32,
                &mut status,
            )
        };
        // ICU fails when it has no memory left.
        assert!(status <= 0, "collation failed: ICU's error {status}");
        order.cmp(&0)
    }

    /// The first bytes of the text's sort key, as PostgreSQL abbreviates it.
    fn prefix(&self, value: &[u8]) -> u64 {
        let mut iterator = [0u64; ITERATOR_WORDS];
        let (mut state, mut status, mut part) = ([0u32; 2], 0, [0u8; 8]);
        // SAFETY: an iterator with room enough over a text with its length, the state of a sort key's beginning, and a
        // buffer with its length.
        unsafe {
            let iterator = iterator.as_mut_ptr().cast();
            (self.functions.start)(iterator, value.as_ptr().cast(), value.len() as i32);
            (self.functions.next_part)(
                self.collator,
                iterator,
                state.as_mut_ptr(),
                part.as_mut_ptr(),
                part.len() as i32,
                &mut status,
            );
        }
        assert!(status <= 0, "collation failed: ICU's error {status}");
        u64::from_be_bytes(part)
    }
}

/// ICU's functions among the libraries that PostgreSQL has loaded: their names end with the library's version.
fn icu_functions() -> Option<Functions> {
    static FOUND: OnceLock<Option<Functions>> = OnceLock::new();
    let symbol = |name: &str, version: &str| {
        let name = CString::new(format!("{name}{version}")).ok()?;
        // SAFETY: looks a symbol up.
        let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!symbol.is_null()).then_some(symbol)
    };
    let find = |version: String| {
        let compare = symbol("ucol_strcollUTF8", &version)?;
        let start = symbol("uiter_setUTF8", &version)?;
        let next_part = symbol("ucol_nextSortKeyPart", &version)?;
        // SAFETY: the types are those of ICU's headers.
        unsafe {
            Some(Functions {
                compare: std::mem::transmute::<*mut c_void, Compare>(compare),
                start: std::mem::transmute::<*mut c_void, StartText>(start),
                next_part: std::mem::transmute::<*mut c_void, NextKeyPart>(next_part),
            })
        }
    };
    *FOUND.get_or_init(|| {
        std::iter::once(String::new())
            .chain((50..200).map(|version| format!("_{version}")))
            .find_map(find)
    })
}

/// The order of a deterministic collation that does not compare bytes, where it can be had here.
pub fn order(collation: pg_sys::Oid) -> Option<LocaleOrder> {
    thread_local! {
        static KNOWN: RefCell<HashMap<pg_sys::Oid, Option<LocaleOrder>>> = RefCell::default();
    }
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&collation).copied()) {
        return known;
    }
    let found = find(collation);
    KNOWN.with_borrow_mut(|known| known.insert(collation, found));
    found
}

fn find(collation: pg_sys::Oid) -> Option<LocaleOrder> {
    let (provider, name) = match collation {
        pg_sys::DEFAULT_COLLATION_OID => database_locale()?,
        _ => collation_locale(collation)?,
    };
    match provider {
        b'c' => libc_order(&CString::new(name).ok()?),
        b'i' => icu_order(collation),
        _ => None,
    }
}

/// Locales live as long as the process: types of expressions refer to them.
fn kept(order: impl TextOrder + 'static) -> LocaleOrder {
    LocaleOrder::new(Box::leak(Box::new(order)))
}

fn libc_order(name: &CStr) -> Option<LocaleOrder> {
    let mask = libc::LC_COLLATE_MASK | libc::LC_CTYPE_MASK;
    // SAFETY: a locale's name; a null pointer says that there is none.
    let locale = unsafe { libc::newlocale(mask, name.as_ptr(), std::ptr::null_mut()) };
    (!locale.is_null()).then(|| kept(Libc { locale }))
}

fn icu_order(collation: pg_sys::Oid) -> Option<LocaleOrder> {
    // SAFETY: reads the database's encoding.
    let utf8 = unsafe { pg_sys::GetDatabaseEncoding() } == pg_sys::pg_enc::PG_UTF8 as i32;
    let functions = icu_functions().filter(|_| utf8)?;
    let collator = raw::icu_collator(collation)?;
    Some(kept(Icu {
        collator,
        functions,
    }))
}

/// The provider and the name of the database's own locale.
pub fn database_locale() -> Option<(u8, String)> {
    // SAFETY: set when the session starts.
    let database = unsafe { pg_sys::MyDatabaseId };
    let provider = |tuple| {
        // SAFETY: a tuple of this catalogue.
        unsafe { (*super::form::<pg_sys::FormData_pg_database>(tuple)).datlocprovider as u8 }
    };
    look_up(
        pg_sys::SysCacheIdentifier::DATABASEOID as i32,
        database,
        pg_sys::Anum_pg_database_datcollate as pg_sys::AttrNumber,
        provider,
    )
}

fn collation_locale(collation: pg_sys::Oid) -> Option<(u8, String)> {
    let provider = |tuple| {
        // SAFETY: a tuple of this catalogue.
        unsafe { (*super::form::<pg_sys::FormData_pg_collation>(tuple)).collprovider as u8 }
    };
    look_up(
        pg_sys::SysCacheIdentifier::COLLOID as i32,
        collation,
        pg_sys::Anum_pg_collation_collcollate as pg_sys::AttrNumber,
        provider,
    )
}

/// A provider and a text of a catalogue's row; an empty text for NULL.
fn look_up(
    cache: i32,
    oid: pg_sys::Oid,
    attribute: pg_sys::AttrNumber,
    provider: impl Fn(pg_sys::HeapTuple) -> u8,
) -> Option<(u8, String)> {
    // SAFETY: a catalogue look-up whose tuple is released; the text is copied before.
    unsafe {
        let none = pg_sys::Datum::from(0);
        let tuple = pg_sys::SearchSysCache(cache, oid.into(), none, none, none);
        if tuple.is_null() {
            return None;
        }
        let provider = provider(tuple);
        let mut is_null = true;
        let value = pg_sys::SysCacheGetAttr(cache, tuple, attribute, &mut is_null);
        let name = <String as pgrx::FromDatum>::from_datum(value, is_null).unwrap_or_default();
        pg_sys::ReleaseSysCache(tuple);
        Some((provider, name))
    }
}
