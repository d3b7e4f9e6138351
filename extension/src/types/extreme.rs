// SPDX-License-Identifier: Apache-2.0
//! `max_by`, `min_by` and `any_value`.
use super::shells::{sql_functions, Args, Raw};
use super::state::{combine, deserial, existing, serial, transition, State};
use super::values::{Comparer, TypeKey, Values};
use doris_engine::sketch::{Reader, SketchError};
use std::cmp::Ordering;

sql_functions! {
    "doris_max_by_trans" => |args: &Args| transition(args, |state: &mut Best<true>| state.add(args));
    "doris_max_by_combine" => combine::<Best<true>>;
    "doris_max_by_serial" => serial::<Best<true>>;
    "doris_max_by_deserial" => deserial::<Best<true>>;
    "doris_max_by_final" => |args: &Args| existing::<Best<true>>(args, 0).and_then(|state| state.answer());
    "doris_min_by_trans" => |args: &Args| transition(args, |state: &mut Best<false>| state.add(args));
    "doris_min_by_combine" => combine::<Best<false>>;
    "doris_min_by_serial" => serial::<Best<false>>;
    "doris_min_by_deserial" => deserial::<Best<false>>;
    "doris_min_by_final" => |args: &Args| existing::<Best<false>>(args, 0).and_then(|state| state.answer());
    // Strict: the first non-null value becomes the state, and stays.
    "doris_any_value_trans" => |args: &Args| args.datum(0).map(Raw);
}

/// The value beside the largest (`MAX`) or smallest key so far; the first among equals.
#[derive(Default)]
struct Best<const MAX: bool> {
    /// One key, once a row was seen.
    key: Values,
    /// One value, unless it is NULL.
    value: Values,
    order: Option<Comparer>,
}

impl<const MAX: bool> Best<MAX> {
    /// Arguments: value, key. The comparison's collation is that of the call.
    fn add(&mut self, args: &Args) {
        let Some(key) = args.datum(2) else { return };
        let order = *self.order.get_or_insert_with(|| {
            let collation = args.collation();
            self.key = Values::new(TypeKey {
                oid: args.type_of(2),
                collation,
            });
            self.value = Values::new(TypeKey {
                oid: args.type_of(1),
                collation,
            });
            Comparer::order(self.key.key())
        });
        if self.key.len() > 0 {
            let better = if MAX {
                Ordering::Greater
            } else {
                Ordering::Less
            };
            if order.compare(key, self.key.get(0)) != better {
                return;
            }
            self.key.pop();
            if self.value.len() > 0 {
                self.value.pop();
            }
        }
        self.key.push(key);
        args.datum(1)
            .into_iter()
            .for_each(|value| self.value.push(value));
    }

    fn answer(&self) -> Option<Raw> {
        (self.value.len() > 0).then(|| self.value.reply(0))
    }
}

impl<const MAX: bool> State for Best<MAX> {
    fn merge(&mut self, other: &Self) {
        if other.key.len() == 0 {
            return;
        }
        if self.key.len() > 0 {
            let order = *self
                .order
                .get_or_insert_with(|| Comparer::order(self.key.key()));
            let better = if MAX {
                Ordering::Greater
            } else {
                Ordering::Less
            };
            if order.compare(other.key.get(0), self.key.get(0)) != better {
                return;
            }
        }
        self.key = other.key.clone();
        self.value = other.value.clone();
        self.order = Some(Comparer::order(self.key.key()));
    }

    fn write(&mut self) -> Vec<u8> {
        [self.key.write(), self.value.write()].concat()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        Ok(Best {
            key: Values::read(&mut reader)?,
            value: Values::read(&mut reader)?,
            order: None,
        })
    }
}
