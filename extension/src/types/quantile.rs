// SPDX-License-Identifier: Apache-2.0
//! Type `quantile_state`, and percentiles of numbers: approximate ones in bounded memory, exact ones.
use super::shells::{fail, fail_argument, from_hex, sql_functions, to_hex, Args, OrFail};
use super::state::{combine, deserial, existing, serial, transition, State};
use doris_engine::sketch::quantile::{self, COMPRESSION_DEFAULT, COMPRESSION_RANGE};
use doris_engine::sketch::{Quantile, Reader, SketchError};
use pgrx::PgSqlErrorCode;

sql_functions! {
    "doris_quantile_in" => |args: &Args| checked(&from_hex(args.cstring(0), "quantile_state"));
    "doris_quantile_out" => |args: &Args| to_hex(args.bytes(0));
    "doris_quantile_recv" => |args: &Args| checked(args.message(0));
    "doris_quantile_send" => |args: &Args| args.bytes(0).to_vec();
    "doris_to_quantile_state" => to_quantile_state;
    "doris_quantile_percent" => |args: &Args| stored(args, 0).quantile(fraction(args, 1));
    "doris_quantile_union_trans" => |args: &Args| transition(args, |state: &mut Option<Quantile>| {
        if !args.is_null(1) {
            merge_into(state, stored(args, 1));
        }
    });
    "doris_quantile_union_combine" => combine::<Option<Quantile>>;
    "doris_quantile_union_serial" => serial::<Option<Quantile>>;
    "doris_quantile_union_deserial" => deserial::<Option<Quantile>>;
    "doris_quantile_union_final" => |args: &Args| {
        existing::<Option<Quantile>>(args, 0).and_then(|state| state.as_mut().map(Quantile::encode))
    };
    "doris_percentile_approx_trans" => |args: &Args| transition(args, |state: &mut Approximate| state.add(args));
    "doris_percentile_approx_combine" => combine::<Approximate>;
    "doris_percentile_approx_serial" => serial::<Approximate>;
    "doris_percentile_approx_deserial" => deserial::<Approximate>;
    "doris_percentile_approx_final" => |args: &Args| {
        existing::<Approximate>(args, 0).and_then(|state| state.quantile.as_mut()?.quantile(state.fraction))
    };
    "doris_percentile_trans" => |args: &Args| transition(args, |state: &mut Exact| state.add(args));
    "doris_percentile_combine" => combine::<Exact>;
    "doris_percentile_serial" => serial::<Exact>;
    "doris_percentile_deserial" => deserial::<Exact>;
    "doris_percentile_final" => |args: &Args| existing::<Exact>(args, 0).and_then(Exact::answer);
}

/// What `percentile_approx` uses without a compression, or with one out of range.
const APPROXIMATE_COMPRESSION: f64 = 10_000.0;

fn stored(args: &Args, i: usize) -> Quantile {
    Quantile::decode(args.bytes(i)).or_corrupt("quantile_state")
}

/// Bytes from outside are decoded once, so that what is stored is sound.
fn checked(bytes: &[u8]) -> Vec<u8> {
    Quantile::decode(bytes)
        .or_invalid("quantile_state")
        .encode()
}

fn fraction(args: &Args, i: usize) -> f64 {
    let fraction = args.f64(i);
    if !(0.0..=1.0).contains(&fraction) {
        fail_argument(format!(
            "percentile value {fraction} is not between 0 and 1"
        ));
    }
    fraction
}

/// A compression outside the range is replaced, as in Doris.
fn compression(args: &Args, i: usize, default: f64) -> f64 {
    if args.len() <= i || args.is_null(i) || !COMPRESSION_RANGE.contains(&args.f64(i)) {
        return default;
    }
    args.f64(i)
}

fn to_quantile_state(args: &Args) -> Vec<u8> {
    let mut state = Quantile::new(compression(args, 1, COMPRESSION_DEFAULT));
    if !args.is_null(0) {
        state.add(args.f64(0));
    }
    state.encode()
}

fn merge_into(state: &mut Option<Quantile>, other: Quantile) {
    match state {
        Some(state) => state.merge(&other),
        None => *state = Some(other),
    }
}

impl State for Option<Quantile> {
    fn merge(&mut self, other: &Self) {
        other
            .iter()
            .for_each(|other| merge_into(self, other.clone()));
    }

    fn write(&mut self) -> Vec<u8> {
        self.as_mut().map_or_else(Vec::new, Quantile::encode)
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        Ok(if bytes.is_empty() {
            None
        } else {
            Some(Quantile::decode(bytes)?)
        })
    }
}

/// `percentile_approx`: the fraction is that of the first row that counts.
#[derive(Default)]
struct Approximate {
    fraction: f64,
    quantile: Option<Quantile>,
}

impl Approximate {
    fn add(&mut self, args: &Args) {
        if args.is_null(1) || args.is_null(2) {
            return;
        }
        let quantile = self.quantile.get_or_insert_with(|| {
            self.fraction = fraction(args, 2);
            Quantile::new(compression(args, 3, APPROXIMATE_COMPRESSION))
        });
        quantile.add(args.f64(1));
    }
}

impl State for Approximate {
    fn merge(&mut self, other: &Self) {
        if self.quantile.is_none() {
            self.fraction = other.fraction;
        }
        self.quantile.merge(&other.quantile);
    }

    fn write(&mut self) -> Vec<u8> {
        [
            self.fraction.to_le_bytes().as_slice(),
            &self.quantile.write(),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        Ok(Approximate {
            fraction: reader.f64()?,
            quantile: State::read(reader.rest())?,
        })
    }
}

/// `percentile`: keeps every value.
#[derive(Default)]
struct Exact {
    fraction: f64,
    values: Vec<f64>,
}

/// What fits into one datum when the state travels between processes.
const EXACT_MAX: usize = (1 << 27) - 8;

impl Exact {
    fn add(&mut self, args: &Args) {
        if args.is_null(1) || args.is_null(2) {
            return;
        }
        if self.values.is_empty() {
            self.fraction = fraction(args, 2);
        }
        if self.values.len() >= EXACT_MAX {
            fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "percentile cannot hold more values; use percentile_approx",
            );
        }
        self.values.push(args.f64(1));
    }

    fn answer(&mut self) -> Option<f64> {
        self.values.sort_unstable_by(quantile::order);
        quantile::exact(&self.values, self.fraction)
    }
}

impl State for Exact {
    fn merge(&mut self, other: &Self) {
        if self.values.is_empty() {
            self.fraction = other.fraction;
        }
        self.values.extend_from_slice(&other.values);
    }

    fn write(&mut self) -> Vec<u8> {
        let values = self.values.iter().flat_map(|value| value.to_le_bytes());
        self.fraction
            .to_le_bytes()
            .into_iter()
            .chain(values)
            .collect()
    }

    fn read(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        let fraction = reader.f64()?;
        let values = (1..bytes.len() / 8)
            .map(|_| reader.f64())
            .collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Exact { fraction, values })
    }
}
