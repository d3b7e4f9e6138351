// SPDX-License-Identifier: Apache-2.0
//! Hashes of integers as their texts have them, without making the texts.
//!
//! Numbers from 0 to 99,999,999, which most are, take no branch and no look-up: their eight digits come of multiplications
//! within words, so that the compiler hashes several numbers at once where the processor has vectors.

use super::hash::{murmur3_64, murmur3_64_short};

/// Numbers hashed in one loop.
const CHUNK: usize = 64;
/// The least number of nine digits.
const NINE_DIGITS: u64 = 100_000_000;
/// `0` in each byte.
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// Appends the hash of each number's text: [`Hll::hash`](super::Hll::hash) of its digits, behind a sign where it is
/// negative.
pub fn hash_texts<T: Copy + Into<i64>>(numbers: &[T], hashes: &mut Vec<u64>) {
    hashes.reserve(numbers.len());
    let (chunks, rest) = numbers.as_chunks::<CHUNK>();
    for chunk in chunks {
        // Negative numbers are long ones here.
        let is_long = |&number: &T| number.into() as u64 >= NINE_DIGITS;
        let any_long = chunk.iter().fold(false, |any, n| any | is_long(n));
        match any_long {
            false => hashes.extend(chunk.iter().map(|&n| hash_short(n.into() as u32))),
            true => hashes.extend(chunk.iter().map(|&n| hash_text(n.into()))),
        }
    }
    hashes.extend(rest.iter().map(|&n| hash_text(n.into())));
}

/// The hash of one number's text.
#[inline]
fn hash_text(number: i64) -> u64 {
    match u32::try_from(number) {
        Ok(short) if u64::from(short) < NINE_DIGITS => hash_short(short),
        _ => hash_long(number),
    }
}

/// The hash of the text of a number of at most eight digits.
#[inline(always)]
fn hash_short(number: u32) -> u64 {
    let digits = eight_digits(number);
    // The last digit stays, even of 0.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    murmur3_64_short((digits | ZEROS) >> (8 * zeros), 8 - zeros)
}

/// The hash of the text of any number.
fn hash_long(number: i64) -> u64 {
    const SIGN: usize = 1;
    const END: usize = SIGN + 3 * 8;
    let magnitude = number.unsigned_abs();
    let groups = [
        magnitude / (NINE_DIGITS * NINE_DIGITS),
        magnitude / NINE_DIGITS % NINE_DIGITS,
        magnitude % NINE_DIGITS,
    ];
    let mut text = [0; END];
    for (group, text) in groups.iter().zip(text[SIGN..].chunks_exact_mut(8)) {
        text.copy_from_slice(&(eight_digits(*group as u32) | ZEROS).to_le_bytes());
    }
    let digits = magnitude.checked_ilog10().map_or(1, |log| log as usize + 1);
    let mut from = END - digits;
    if number < 0 {
        from -= 1;
        text[from] = b'-';
    }
    murmur3_64(&text[from..], 0)
}

/// The eight digits of a number, each in a byte, the first one lowest.
#[inline(always)]
fn eight_digits(number: u32) -> u64 {
    u64::from(four_digits(number / 10_000)) | u64::from(four_digits(number % 10_000)) << 32
}

/// The four digits of a number below 10,000. Multiplications and shifts divide exactly in this range.
#[inline(always)]
fn four_digits(number: u32) -> u32 {
    let hundreds = (number * 10_486) >> 20;
    let pairs = hundreds | (number - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000F_000F;
    tens | (pairs - tens * 10) << 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_text(number: i64) -> u64 {
        murmur3_64(number.to_string().as_bytes(), 0)
    }

    #[test]
    fn four_digits_are_those_of_the_text() {
        for number in 0..10_000 {
            let text = format!("{number:04}");
            let digits = four_digits(number) | 0x3030_3030;
            assert_eq!(digits.to_le_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn numbers_of_all_lengths_are_hashed_by_their_text() {
        let powers = (0..19).map(|n| 10i64.pow(n));
        let around = powers.flat_map(|p| [p - 1, p, p + 1, 3 * (p / 2) + 7, -p]);
        let numbers: Vec<i64> = around.chain([0, 42, i64::MIN, i64::MAX]).collect();
        let mut hashes = Vec::new();
        hash_texts(&numbers, &mut hashes);
        for (number, hash) in numbers.iter().zip(hashes) {
            assert_eq!(hash, of_text(*number), "{number}");
        }
    }

    proptest! {
        #[test]
        fn batches_are_hashed_by_their_text(
            bits in 1u32..64,
            words in prop::collection::vec(any::<i64>(), 0..300),
        ) {
            // Of about as many bits, so that whole chunks are short and others are not.
            let numbers: Vec<i64> = words.iter().map(|word| word >> bits).collect();
            let positive: Vec<i64> = numbers.iter().map(|number| number.saturating_abs()).collect();
            for numbers in [numbers, positive] {
                let expected: Vec<u64> = numbers.iter().map(|&number| of_text(number)).collect();
                let mut hashes = Vec::new();
                hash_texts(&numbers, &mut hashes);
                prop_assert_eq!(&hashes, &expected);
                let small: Vec<i16> = numbers.iter().map(|&number| number as i16).collect();
                let expected: Vec<u64> = small.iter().map(|&number| of_text(number.into())).collect();
                hashes.clear();
                hash_texts(&small, &mut hashes);
                prop_assert_eq!(&hashes, &expected);
            }
        }
    }
}
