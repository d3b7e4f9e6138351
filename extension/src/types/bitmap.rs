// SPDX-License-Identifier: Apache-2.0
//! The scalar functions of type `bitmap`.
use super::shells::{
    array_of, fail, invalid_text, sql_functions, varlena_bytes, Args, Cstring, OrFail, Raw,
    TEXT_MAX,
};
use doris_engine::sketch::bitmap::parse_value;
use doris_engine::sketch::hash::{murmur3_32, murmur3_64, SEED_32};
use doris_engine::sketch::{Bitmap, BitmapUnion, StoredBitmap};
use pgrx::pg_sys::{self, Datum};
use pgrx::PgSqlErrorCode;

sql_functions! {
    "doris_bitmap_in" => input;
    "doris_bitmap_out" => |args: &Args| Cstring(text(args).into_bytes());
    "doris_bitmap_recv" => |args: &Args| Bitmap::decode(args.message(0)).or_invalid("bitmap").encode();
    "doris_bitmap_send" => |args: &Args| args.bytes(0).to_vec();
    "doris_bitmap_eq" => equal;
    "doris_bitmap_ne" => |args: &Args| !equal(args);
    "doris_bitmap_hash_value" => |args: &Args| whole(args, 0).hash(0) as i32;
    "doris_bitmap_hash_value_extended" => |args: &Args| whole(args, 0).hash(args.i64(1) as u64) as i64;
    "doris_bitmap_empty" => |_: &Args| Bitmap::encode_empty();
    "doris_to_bitmap_int" => |args: &Args| one_or_empty(args.datum(0).and_then(|_| u64::try_from(args.i64(0)).ok()));
    "doris_to_bitmap_text" => |args: &Args| one_or_empty(args.datum(0).and_then(|_| parse_value(args.bytes(0))));
    "doris_bitmap_hash" => |args: &Args| {
        one_or_empty(args.datum(0).map(|_| u64::from(murmur3_32(&args.text_of(0), SEED_32))))
    };
    "doris_bitmap_hash64" => |args: &Args| one_or_empty(args.datum(0).map(|_| murmur3_64(&args.text_of(0), 0)));
    "doris_bitmap_from_string" => |args: &Args| Bitmap::parse(args.bytes(0)).map(|mut bitmap| bitmap.encode());
    "doris_bitmap_from_array" => |args: &Args| from_array(args).ok();
    "doris_bitmap_cast_array" => cast_array;
    "doris_bitmap_to_string" => text;
    "doris_bitmap_to_array" => to_array;
    "doris_bitmap_count" => |args: &Args| args.datum(0).map_or(0, |_| stored(args, 0).len());
    "doris_bitmap_min" => |args: &Args| whole(args, 0).min();
    "doris_bitmap_max" => |args: &Args| whole(args, 0).max();
    "doris_bitmap_and" => |args: &Args| fold_strict(pair(args), Bitmap::and).map(encoded);
    "doris_bitmap_or" => |args: &Args| fold_or(pair(args)).map(encoded);
    "doris_bitmap_xor" => |args: &Args| fold_strict(pair(args), Bitmap::xor).map(encoded);
    "doris_bitmap_and_not" => |args: &Args| fold_strict(pair(args), Bitmap::and_not).map(encoded);
    "doris_bitmap_and_all" => |args: &Args| fold_strict(many(args), Bitmap::and).map(encoded);
    "doris_bitmap_or_all" => |args: &Args| fold_or(many(args)).map(encoded);
    "doris_bitmap_xor_all" => |args: &Args| fold_strict(many(args), Bitmap::xor).map(encoded);
    "doris_bitmap_and_count" => |args: &Args| count(fold_strict(many(args), Bitmap::and));
    "doris_bitmap_or_count" => |args: &Args| count(fold_or(many(args)));
    "doris_bitmap_xor_count" => |args: &Args| count(fold_strict(many(args), Bitmap::xor));
    "doris_bitmap_and_not_count" => |args: &Args| count(fold_strict(pair(args), Bitmap::and_not));
    "doris_bitmap_contains" => |args: &Args| {
        u64::try_from(args.i64(1)).is_ok_and(|value| stored(args, 0).contains(value).or_corrupt("bitmap"))
    };
    "doris_bitmap_has_any" => |args: &Args| whole(args, 0).has_any(&whole(args, 1));
    "doris_bitmap_has_all" => |args: &Args| whole(args, 0).has_all(&whole(args, 1));
    "doris_bitmap_within" => |args: &Args| whole(args, 1).has_all(&whole(args, 0));
    "doris_sub_bitmap" => |args: &Args| whole(args, 0).slice(args.i64(1), args.i64(2)).map(encoded);
    "doris_bitmap_subset_in_range" => |args: &Args| whole(args, 0).range(args.i64(1), args.i64(2)).map(encoded);
    "doris_bitmap_subset_limit" => |args: &Args| whole(args, 0).limited(args.i64(1), args.i64(2)).map(encoded);
    "doris_bitmap_remove" => remove;
}

/// Argument `i`, its header checked.
pub fn stored(args: &Args, i: usize) -> StoredBitmap<'_> {
    StoredBitmap::parse(args.bytes(i)).or_corrupt("bitmap")
}

fn whole(args: &Args, i: usize) -> Bitmap {
    stored(args, i).decode().or_corrupt("bitmap")
}

fn encoded(mut bitmap: Bitmap) -> Vec<u8> {
    bitmap.encode()
}

fn text(args: &Args) -> String {
    whole(args, 0)
        .to_text(TEXT_MAX)
        .unwrap_or_else(|| too_long())
}

fn too_long() -> ! {
    fail(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        "the bitmap has too many values to be written out",
    )
}

fn input(args: &Args) -> Vec<u8> {
    let text = args.cstring(0);
    Bitmap::parse(text).map_or_else(|| invalid_text(text, "bitmap"), encoded)
}

/// Most results are one value; they are written without a set in between.
fn one_or_empty(value: Option<u64>) -> Vec<u8> {
    value.map_or_else(
        || Bitmap::encode_empty().to_vec(),
        |value| Bitmap::encode_one(value).to_vec(),
    )
}

fn equal(args: &Args) -> bool {
    if args.bytes(0) == args.bytes(1) {
        return true;
    }
    // Small sets have one form each. Large ones can be equal in other bytes when two versions of the library wrote
    // them.
    match (stored(args, 0), stored(args, 1)) {
        (
            StoredBitmap::Roaring { cardinality: a, .. },
            StoredBitmap::Roaring { cardinality: b, .. },
        ) => a == b && whole(args, 0) == whole(args, 1),
        _ => false,
    }
}

/// The set of the non-null elements, or a negative one of them.
fn from_array(args: &Args) -> Result<Vec<u8>, i64> {
    let mut union = BitmapUnion::default();
    for element in args.elements(0).into_iter().flatten() {
        let value = element.value() as i64;
        union.add(u64::try_from(value).map_err(|_| value)?);
    }
    Ok(union.encode())
}

fn cast_array(args: &Args) -> Vec<u8> {
    from_array(args).unwrap_or_else(|value| {
        fail(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("a bitmap cannot hold the negative value {value}"),
        )
    })
}

fn to_array(args: &Args) -> Raw {
    let bitmap = whole(args, 0);
    if bitmap.len() > (TEXT_MAX / 8) as u64 {
        too_long();
    }
    if bitmap.max().is_some_and(|max| i64::try_from(max).is_err()) {
        fail(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            "bigint out of range",
        );
    }
    let mut elements: Vec<Datum> = bitmap
        .iter()
        .map(|value| Datum::from(value as i64))
        .collect();
    array_of(&mut elements, pg_sys::INT8OID)
}

/// The two arguments; NULL as `None`.
fn pair(args: &Args) -> Vec<Option<Datum>> {
    vec![args.datum(0), args.datum(1)]
}

/// The elements of a variadic argument; a NULL array is one NULL.
fn many(args: &Args) -> Vec<Option<Datum>> {
    args.datum(0)
        .map_or_else(|| vec![None], |_| args.elements(0))
}

fn parse<'a>(datum: Datum) -> StoredBitmap<'a> {
    // SAFETY: the SQL declarations give these arguments the type bitmap.
    StoredBitmap::parse(unsafe { varlena_bytes(datum) }).or_corrupt("bitmap")
}

/// NULL if any is NULL.
fn fold_strict(bitmaps: Vec<Option<Datum>>, step: fn(&mut Bitmap, &Bitmap)) -> Option<Bitmap> {
    let bitmaps: Vec<Datum> = bitmaps.into_iter().collect::<Option<_>>()?;
    let (first, rest) = bitmaps.split_first()?;
    let mut result = parse(*first).decode().or_corrupt("bitmap");
    rest.iter()
        .for_each(|other| step(&mut result, &parse(*other).decode().or_corrupt("bitmap")));
    Some(result)
}

/// NULLs are skipped; NULL if nothing is left.
fn fold_or(bitmaps: Vec<Option<Datum>>) -> Option<Bitmap> {
    let mut union = BitmapUnion::default();
    let mut any = false;
    for datum in bitmaps.into_iter().flatten() {
        union.add_stored(parse(datum)).or_corrupt("bitmap");
        any = true;
    }
    any.then(|| union.finish())
}

fn count(bitmap: Option<Bitmap>) -> u64 {
    bitmap.map_or(0, |bitmap| bitmap.len())
}

fn remove(args: &Args) -> Vec<u8> {
    let mut bitmap = whole(args, 0);
    u64::try_from(args.i64(1))
        .into_iter()
        .for_each(|value| bitmap.remove(value));
    bitmap.encode()
}
