// SPDX-License-Identifier: Apache-2.0
//! The aggregates of type `bitmap`.
use super::bitmap::stored;
use super::shells::{sql_functions, Args, OrFail};
use super::state::{combine, deserial, existing, serial, transition, State};
use super::values::{Comparer, TypeKey, Values};
use doris_engine::sketch::{put_bytes, Bitmap, BitmapUnion, Reader, SketchError};

sql_functions! {
    "doris_bitmap_union_trans" => |args: &Args| transition(args, |union: &mut BitmapUnion| {
        if !args.is_null(1) {
            union.add_stored(stored(args, 1)).or_corrupt("bitmap");
        }
    });
    "doris_bitmap_agg_trans" => |args: &Args| transition(args, |union: &mut BitmapUnion| {
        if !args.is_null(1) {
            u64::try_from(args.i64(1)).into_iter().for_each(|value| union.add(value));
        }
    });
    "doris_bitmap_union_combine" => combine::<BitmapUnion>;
    "doris_bitmap_union_serial" => serial::<BitmapUnion>;
    "doris_bitmap_union_deserial" => deserial::<BitmapUnion>;
    "doris_bitmap_union_final" => |args: &Args| {
        existing::<BitmapUnion>(args, 0).map_or_else(|| Bitmap::encode_empty().to_vec(), BitmapUnion::encode)
    };
    "doris_bitmap_union_count_final" => |args: &Args| existing::<BitmapUnion>(args, 0).map_or(0, BitmapUnion::distinct);
    "doris_bitmap_intersect_trans" => |args: &Args| transition(args, |state: &mut Intersection| {
        if !args.is_null(1) {
            state.and(&stored(args, 1).decode().or_corrupt("bitmap"));
        }
    });
    "doris_bitmap_intersect_combine" => combine::<Intersection>;
    "doris_bitmap_intersect_serial" => serial::<Intersection>;
    "doris_bitmap_intersect_deserial" => deserial::<Intersection>;
    "doris_bitmap_intersect_final" => |args: &Args| {
        existing::<Intersection>(args, 0)
            .and_then(|state| state.0.as_mut().map(Bitmap::encode))
            .unwrap_or_else(|| Bitmap::encode_empty().to_vec())
    };
    "doris_bitmap_xor_trans" => |args: &Args| transition(args, |state: &mut Difference| {
        if !args.is_null(1) {
            state.0.xor_stored(stored(args, 1)).or_corrupt("bitmap");
        }
    });
    "doris_bitmap_xor_combine" => combine::<Difference>;
    "doris_bitmap_xor_serial" => serial::<Difference>;
    "doris_bitmap_xor_deserial" => deserial::<Difference>;
    "doris_bitmap_xor_final" => |args: &Args| {
        existing::<Difference>(args, 0).map_or_else(|| Bitmap::encode_empty().to_vec(), |state| state.0.encode())
    };
    "doris_intersect_count_trans" => |args: &Args| transition(args, |state: &mut PerValue| state.add(args));
    "doris_intersect_count_combine" => combine::<PerValue>;
    "doris_intersect_count_serial" => serial::<PerValue>;
    "doris_intersect_count_deserial" => deserial::<PerValue>;
    "doris_intersect_count_final" => |args: &Args| existing::<PerValue>(args, 0).map_or(0, PerValue::count);
}

impl State for BitmapUnion {
    fn merge(&mut self, other: &Self) {
        BitmapUnion::merge(self, other);
    }

    fn write(&mut self) -> Vec<u8> {
        self.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        Ok(BitmapUnion::from(Bitmap::decode(bytes)?))
    }
}

/// What is in every set so far; `None` before the first.
#[derive(Default)]
struct Intersection(Option<Bitmap>);

impl Intersection {
    fn and(&mut self, other: &Bitmap) {
        match &mut self.0 {
            Some(bitmap) => bitmap.and(other),
            None => self.0 = Some(other.clone()),
        }
    }
}

impl State for Intersection {
    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|bitmap| self.and(bitmap));
    }

    fn write(&mut self) -> Vec<u8> {
        self.0.as_mut().map_or_else(Vec::new, Bitmap::encode)
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        Ok(Intersection(if bytes.is_empty() {
            None
        } else {
            Some(Bitmap::decode(bytes)?)
        }))
    }
}

/// What is in an odd number of the sets.
#[derive(Default)]
struct Difference(Bitmap);

impl State for Difference {
    fn merge(&mut self, other: &Self) {
        self.0.xor(&other.0);
    }

    fn write(&mut self) -> Vec<u8> {
        self.0.encode()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        Ok(Difference(Bitmap::decode(bytes)?))
    }
}

/// One union for each of the values that the dimension is compared with.
#[derive(Default)]
struct PerValue {
    wanted: Values,
    unions: Vec<BitmapUnion>,
    comparer: Option<Comparer>,
}

impl PerValue {
    /// Arguments: bitmap, dimension, array of values. The values are those of the first row.
    fn add(&mut self, args: &Args) {
        if args.is_null(1) || args.is_null(2) || args.is_null(3) {
            return;
        }
        let comparer = self.comparer.get_or_insert_with(|| {
            let key = TypeKey {
                oid: args.type_of(2),
                collation: args.collation(),
            };
            self.wanted = Values::new(key);
            args.elements(3)
                .into_iter()
                .flatten()
                .for_each(|value| self.wanted.push(value));
            self.unions
                .resize_with(self.wanted.len(), BitmapUnion::default);
            Comparer::equality(key)
        });
        let Some(dimension) = args.datum(2) else {
            return;
        };
        for (i, union) in self.unions.iter_mut().enumerate() {
            if comparer.equal(self.wanted.get(i), dimension) {
                union.add_stored(stored(args, 1)).or_corrupt("bitmap");
            }
        }
    }

    fn count(&mut self) -> u64 {
        let mut all = Intersection::default();
        self.unions
            .iter()
            .for_each(|union| all.and(&union.clone().finish()));
        all.0.map_or(0, |bitmap| bitmap.len())
    }
}

impl State for PerValue {
    fn merge(&mut self, other: &Self) {
        if self.unions.is_empty() {
            self.wanted = other.wanted.clone();
            self.unions = other.unions.clone();
            return;
        }
        self.unions
            .iter_mut()
            .zip(&other.unions)
            .for_each(|(ours, theirs)| ours.merge(theirs));
    }

    fn write(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, &self.wanted.write());
        self.unions
            .iter_mut()
            .for_each(|union| put_bytes(&mut out, &union.encode()));
        out
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        let wanted = Values::read(&mut Reader::new(reader.bytes()?))?;
        let unions = (0..wanted.len())
            .map(|_| Ok(BitmapUnion::from(Bitmap::decode(reader.bytes()?)?)))
            .collect::<Result<_, SketchError>>()?;
        Ok(PerValue {
            wanted,
            unions,
            comparer: None,
        })
    }
}
