// SPDX-License-Identifier: Apache-2.0
use super::{power, Math};
use crate::error::{BadArgument, Error, OutOfRange};

const INF: f64 = f64::INFINITY;

#[test]
fn powers_at_the_edges_are_postgresqls() {
    let cases = [
        (f64::NAN, 0.0, 1.0),
        (1.0, f64::NAN, 1.0),
        (-1.0, INF, 1.0),
        (2.0, INF, INF),
        (0.5, INF, 0.0),
        (2.0, -INF, 0.0),
        (0.5, -INF, INF),
        (0.0, INF, 0.0),
        (INF, 0.0, 1.0),
        (INF, -2.0, 0.0),
        (-INF, 3.0, -INF),
        (-INF, 2.0, INF),
        (-INF, -2.0, 0.0),
        (0.0, 0.0, 1.0),
        (-2.0, 3.0, -8.0),
    ];
    for (base, exponent, wanted) in cases {
        assert_eq!(power(base, exponent), Ok(wanted), "{base} ^ {exponent}");
    }
    assert!(power(f64::NAN, 1.0).unwrap().is_nan());
    assert!(power(2.0, f64::NAN).unwrap().is_nan());
    assert_eq!(
        power(0.0, -1.0),
        Err(Error::BadArgument(BadArgument::ZeroToNegative))
    );
    assert_eq!(
        power(0.0, -INF),
        Err(Error::BadArgument(BadArgument::ZeroToNegative))
    );
    assert_eq!(
        power(-8.0, 0.5),
        Err(Error::BadArgument(BadArgument::NegativeToFraction))
    );
    let out = |what| Err(Error::NumericOutOfRange(what));
    assert_eq!(power(1e300, 2.0), out(OutOfRange::FloatOverflow));
    assert_eq!(power(1e-300, 2.0), out(OutOfRange::FloatUnderflow));
    // The C library reports no error of a subnormal result.
    assert_eq!(power(2.0, -1074.0), Ok(5e-324));
    assert_eq!(power(2.0, -1076.0), out(OutOfRange::FloatUnderflow));
}

#[test]
fn functions_of_floats_fail_where_postgresqls_do() {
    let out = |what| Err(Error::NumericOutOfRange(what));
    assert_eq!(
        Math::Sqrt.of(-1.0),
        Err(Error::BadArgument(BadArgument::RootOfNegative))
    );
    assert_eq!(
        Math::Ln.of(0.0),
        Err(Error::BadArgument(BadArgument::LogarithmOfZero))
    );
    assert_eq!(
        Math::Log10.of(-0.5),
        Err(Error::BadArgument(BadArgument::LogarithmOfNegative))
    );
    assert_eq!(Math::Ln.of(1.0), Ok(0.0));
    assert_eq!(Math::Ln.of(INF), Ok(INF));
    assert_eq!(Math::Exp.of(-INF), Ok(0.0));
    assert_eq!(Math::Exp.of(710.0), out(OutOfRange::FloatOverflow));
    assert_eq!(Math::Exp.of(-800.0), out(OutOfRange::FloatUnderflow));
    assert!(Math::Exp.of(-740.0).unwrap().is_subnormal());
    assert_eq!(Math::Degrees.of(1e308), out(OutOfRange::FloatOverflow));
    assert_eq!(Math::Round.of(2.5), Ok(2.0));
    assert_eq!(Math::Round.of(-3.5), Ok(-4.0));
    assert_eq!(Math::Trunc.of(-3.7), Ok(-3.0));
    assert_eq!(Math::Sign.of(f64::NAN), Ok(0.0));
    assert!(Math::Sqrt.of(f64::NAN).unwrap().is_nan());
}
