// SPDX-License-Identifier: Apache-2.0
//! Type `hll`, and the approximate distinct counts of ordinary values.
use super::shells::{from_hex, sql_functions, to_hex, Args, OrFail};
use super::state::{combine, deserial, existing, serial, transition, State};
use super::values::{Hasher, TypeKey};
use doris_engine::sketch::{Hll, SketchError};

sql_functions! {
    "doris_hll_in" => |args: &Args| checked(&from_hex(args.cstring(0), "hll"));
    "doris_hll_out" => |args: &Args| to_hex(args.bytes(0));
    "doris_hll_recv" => |args: &Args| checked(args.message(0));
    "doris_hll_send" => |args: &Args| args.bytes(0).to_vec();
    "doris_hll_empty" => |_: &Args| Hll::default().encode();
    "doris_hll_hash" => |args: &Args| args.datum(0).map_or_else(Hll::default, |_| Hll::of(&args.text_of(0))).encode();
    "doris_hll_cardinality" => |args: &Args| args.datum(0).map_or(0, |_| stored(args, 0).estimate());
    "doris_hll_union_trans" => |args: &Args| transition(args, |hll: &mut Hll| {
        if !args.is_null(1) {
            hll.merge(&stored(args, 1));
        }
    });
    "doris_hll_union_combine" => combine::<Hll>;
    "doris_hll_union_serial" => serial::<Hll>;
    "doris_hll_union_deserial" => deserial::<Hll>;
    "doris_hll_union_final" => |args: &Args| {
        existing::<Hll>(args, 0).map_or_else(|| Hll::default().encode(), |hll| hll.encode())
    };
    "doris_hll_union_agg_final" => |args: &Args| existing::<Hll>(args, 0).map_or(0, |hll| hll.estimate());
    "doris_ndv_trans" => |args: &Args| transition(args, |state: &mut Distinct| state.add(args));
    "doris_ndv_combine" => combine::<Distinct>;
    "doris_ndv_serial" => serial::<Distinct>;
    "doris_ndv_deserial" => deserial::<Distinct>;
    "doris_ndv_final" => |args: &Args| existing::<Distinct>(args, 0).map_or(0, |state| state.hll.estimate());
}

fn stored(args: &Args, i: usize) -> Hll {
    Hll::decode(args.bytes(i)).or_corrupt("hll")
}

/// Bytes from outside are decoded once, so that what is stored is sound.
fn checked(bytes: &[u8]) -> Vec<u8> {
    Hll::decode(bytes).or_invalid("hll").encode()
}

impl State for Hll {
    fn merge(&mut self, other: &Self) {
        Hll::merge(self, other);
    }

    fn write(&mut self) -> Vec<u8> {
        self.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        Hll::decode(bytes)
    }
}

/// A distinct count of values of any type that can be hashed. Its hashes are the type's own, so that equal values count
/// once (1.0 and 1.00), and therefore differ from those of `hll_hash`.
#[derive(Default)]
struct Distinct {
    hll: Hll,
    hasher: Option<Hasher>,
}

impl Distinct {
    fn add(&mut self, args: &Args) {
        let Some(value) = args.datum(1) else { return };
        let hasher = self.hasher.get_or_insert_with(|| {
            Hasher::new(TypeKey {
                oid: args.type_of(1),
                collation: args.collation(),
            })
        });
        self.hll.add_hash(hasher.hash(value));
    }
}

impl State for Distinct {
    fn merge(&mut self, other: &Self) {
        self.hll.merge(&other.hll);
    }

    fn write(&mut self) -> Vec<u8> {
        self.hll.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        Ok(Distinct {
            hll: Hll::decode(bytes)?,
            hasher: None,
        })
    }
}
