// SPDX-License-Identifier: Apache-2.0
//! Internet addresses as numbers, and distances of vectors.
use super::shells::{fail, fail_argument, sql_functions, Args};
use pgrx::pg_sys::Datum;
use pgrx::PgSqlErrorCode;
use std::net::{IpAddr, Ipv4Addr};

sql_functions! {
    "doris_ipv4_or_null" => |args: &Args| parse::<Ipv4Addr>(args.bytes(0)).map(number);
    "doris_ipv4_or_default" => |args: &Args| args.datum(0).and_then(|_| parse::<Ipv4Addr>(args.bytes(0))).map_or(0, number);
    "doris_ipv4_string_to_num" => |args: &Args| number(expect(args.bytes(0)));
    "doris_ipv4_num_to_string" => |args: &Args| {
        u32::try_from(args.i64(0)).ok().map(|number| Ipv4Addr::from_bits(number).to_string())
    };
    "doris_ipv4_cidr_edge" => cidr_edge;
    "doris_is_ip_address_in_range" => |args: &Args| in_range(parse(args.bytes(0)), args.bytes(1));
    "doris_l1_distance" => |args: &Args| vectors(args).map(|pairs| pairs.iter().fold(0.0, |sum, (a, b)| sum + (a - b).abs()));
    "doris_l2_distance" => |args: &Args| {
        vectors(args).map(|pairs| pairs.iter().fold(0.0, |sum, (a, b)| sum + (a - b).powi(2)).sqrt())
    };
    "doris_inner_product" => |args: &Args| vectors(args).map(|pairs| pairs.iter().fold(0.0, |sum, (a, b)| sum + a * b));
    "doris_cosine_distance" => |args: &Args| vectors(args).and_then(|pairs| cosine(&pairs));
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn number(address: Ipv4Addr) -> i64 {
    i64::from(address.to_bits())
}

fn expect(text: &[u8]) -> Ipv4Addr {
    parse(text).unwrap_or_else(|| {
        fail(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            format!("invalid IPv4 value: \"{}\"", String::from_utf8_lossy(text)),
        )
    })
}

/// The bits of an address of `width` bits that a prefix fixes.
fn mask(prefix: u32, width: u32) -> u128 {
    let all = u128::MAX >> (128 - width);
    all ^ all.checked_shr(prefix).unwrap_or(0)
}

/// Arguments: address, prefix length, whether the last address of the range is wanted.
fn cidr_edge(args: &Args) -> String {
    let prefix = args.i32(1);
    if !(0..=32).contains(&prefix) {
        fail_argument(format!(
            "the prefix length {prefix} is not between 0 and 32"
        ));
    }
    let (bits, mask) = (
        expect(args.bytes(0)).to_bits(),
        mask(prefix as u32, 32) as u32,
    );
    let wanted = if args.i32(2) == 0 {
        bits & mask
    } else {
        bits | !mask
    };
    Ipv4Addr::from_bits(wanted).to_string()
}

/// What is not an address or a range holds nothing.
fn in_range(address: Option<IpAddr>, range: &[u8]) -> bool {
    let range = String::from_utf8_lossy(range);
    let Some((network, prefix)) = range.split_once('/') else {
        return false;
    };
    let (Some(address), Ok(network), Ok(prefix)) =
        (address, network.parse::<IpAddr>(), prefix.parse::<u32>())
    else {
        return false;
    };
    let (ours, theirs, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    prefix <= width && (ours ^ theirs) & mask(prefix, width) == 0
}

/// The elements of both arrays in pairs, NULL as zero; `None` where an array is NULL.
fn vectors(args: &Args) -> Option<Vec<(f64, f64)>> {
    args.datum(0).and(args.datum(1))?;
    let (left, right) = (args.elements(0), args.elements(1));
    if left.len() != right.len() {
        fail_argument(
            "function distance have different input element sizes of array: ".to_owned()
                + &format!("{} and {}", left.len(), right.len()),
        );
    }
    let value =
        |datum: &Option<Datum>| datum.map_or(0.0, |datum| f64::from_bits(datum.value() as u64));
    Some(
        left.iter()
            .map(value)
            .zip(right.iter().map(value))
            .collect(),
    )
}

/// `None` where a vector has no direction; the distance of two empty ones is zero.
fn cosine(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.is_empty() {
        return Some(0.0);
    }
    let (mut product, mut left, mut right) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        product += a * b;
        left += a * a;
        right += b * b;
    }
    let norms = f64::sqrt(left * right);
    (norms != 0.0).then(|| 1.0 - product / norms)
}
