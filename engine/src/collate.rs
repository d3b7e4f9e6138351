// SPDX-License-Identifier: Apache-2.0
//! Orders of text that are not ours: the operating system's or ICU's, behind a trait.

use std::cmp::Ordering;
use std::fmt;

/// How text of some locale compares; on any thread.
pub trait TextOrder: fmt::Debug + Send + Sync {
    /// The order of two different values; equal only if the locale knows no difference.
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering;

    /// A number by which a value may be told from others: it is not greater than that of any value that comes after.
    fn prefix(&self, _value: &[u8]) -> u64 {
        0
    }
}

/// A deterministic order of text: the locale's, and among what it calls equal that of the bytes. Types hold it, so it
/// is a reference that lives as long as the process; two are the same if the reference is.
#[derive(Clone, Copy)]
pub struct LocaleOrder(&'static dyn TextOrder);

impl LocaleOrder {
    /// The order of a locale.
    pub fn new(order: &'static dyn TextOrder) -> Self {
        Self(order)
    }

    /// The order of two values.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        self.0.compare(a, b).then_with(|| a.cmp(b))
    }

    /// The value's [`TextOrder::prefix`].
    pub fn prefix(self, value: &[u8]) -> u64 {
        self.0.prefix(value)
    }

    fn address(self) -> usize {
        std::ptr::from_ref(self.0).cast::<()>().addr()
    }
}

impl fmt::Debug for LocaleOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for LocaleOrder {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for LocaleOrder {}

impl std::hash::Hash for LocaleOrder {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}
