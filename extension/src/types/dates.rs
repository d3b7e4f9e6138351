// SPDX-License-Identifier: Apache-2.0
//! Dates in MySQL's `%Y-%m-%d` formats: `date_format` and `str_to_date`.
use super::shells::{fail_argument, sql_functions, Args};
use std::fmt::Write;

sql_functions! {
    "doris_date_format" => |args: &Args| Moment::of(args.i64(0)).map(|moment| moment.format(format_of(args)));
    "doris_str_to_date" => |args: &Args| Moment::parse(args.bytes(0), args.bytes(1)).and_then(|moment| moment.timestamp());
    "doris_unix_seconds" => unix_seconds;
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Days from 1970-01-01 to PostgreSQL's 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

fn format_of(args: &Args) -> &str {
    std::str::from_utf8(args.bytes(1))
        .unwrap_or_else(|_| fail_argument("the format is not valid text"))
}

/// The seconds that `from_unixtime` takes: up to the end of the year 9999.
fn unix_seconds(args: &Args) -> i64 {
    let seconds = args.i64(0);
    if !(0..=253_402_271_999).contains(&seconds) {
        fail_argument(format!(
            "{seconds} seconds are out of range for from_unixtime"
        ));
    }
    seconds
}

/// A timestamp in parts.
#[derive(Debug, Clone, Copy)]
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years begin in March, so that the leap day comes last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let next = if month == 12 {
        days_of(year + 1, 1, 1)
    } else {
        days_of(year, month + 1, 1)
    };
    next - days_of(year, month, 1)
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

impl Moment {
    /// The parts of a PostgreSQL timestamp; none of an infinite one.
    fn of(timestamp: i64) -> Option<Self> {
        if timestamp == i64::MAX || timestamp == i64::MIN {
            return None;
        }
        let (year, month, day) = date_of(timestamp.div_euclid(DAY) + EPOCH_DAYS);
        let rest = timestamp.rem_euclid(DAY);
        let seconds = rest / SECOND;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        Some(Moment {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros: rest % SECOND,
        })
    }

    /// The timestamp of the parts, if they are a date and a time.
    fn timestamp(&self) -> Option<i64> {
        let time_is_sound = (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60).contains(&self.second);
        let month_is_sound = (0..=9999).contains(&self.year) && (1..=12).contains(&self.month);
        if !time_is_sound
            || !month_is_sound
            || !(1..=days_in_month(self.year, self.month)).contains(&self.day)
        {
            return None;
        }
        let days = days_of(self.year, self.month, self.day) - EPOCH_DAYS;
        let seconds = (self.hour * 60 + self.minute) * 60 + self.second;
        Some(days * DAY + seconds * SECOND + self.micros)
    }

    fn format(&self, format: &str) -> String {
        let mut out = String::with_capacity(format.len() * 2);
        let mut rest = format.chars();
        while let Some(letter) = rest.next() {
            match letter {
                '%' => rest
                    .next()
                    .map_or(Ok(()), |code| self.write(&mut out, code))
                    .expect("writing to a string"),
                letter => out.push(letter),
            }
        }
        out
    }

    fn write(&self, out: &mut String, code: char) -> std::fmt::Result {
        let days = days_of(self.year, self.month, self.day);
        let (weekday, half) = ((days + 4).rem_euclid(7), (self.hour + 11) % 12 + 1);
        let (month, name) = (MONTHS[self.month as usize - 1], WEEKDAYS[weekday as usize]);
        let noon = if self.hour < 12 { "AM" } else { "PM" };
        match code {
            'Y' => write!(out, "{:04}", self.year),
            'y' => write!(out, "{:02}", self.year % 100),
            'm' => write!(out, "{:02}", self.month),
            'c' => write!(out, "{}", self.month),
            'M' => write!(out, "{month}"),
            'b' => write!(out, "{}", &month[..3]),
            'd' => write!(out, "{:02}", self.day),
            'e' => write!(out, "{}", self.day),
            'D' => write!(out, "{}{}", self.day, ordinal(self.day)),
            'j' => write!(out, "{:03}", days - days_of(self.year, 1, 1) + 1),
            'W' => write!(out, "{name}"),
            'a' => write!(out, "{}", &name[..3]),
            'w' => write!(out, "{weekday}"),
            'H' => write!(out, "{:02}", self.hour),
            'k' => write!(out, "{}", self.hour),
            'h' | 'I' => write!(out, "{half:02}"),
            'l' => write!(out, "{half}"),
            'i' => write!(out, "{:02}", self.minute),
            's' | 'S' => write!(out, "{:02}", self.second),
            'f' => write!(out, "{:06}", self.micros),
            'p' => write!(out, "{noon}"),
            'T' => write!(
                out,
                "{:02}:{:02}:{:02}",
                self.hour, self.minute, self.second
            ),
            'r' => write!(
                out,
                "{half:02}:{:02}:{:02} {noon}",
                self.minute, self.second
            ),
            'U' | 'u' | 'V' | 'v' | 'X' | 'x' => {
                fail_argument(format!("date_format does not support %{code}"))
            }
            other => write!(out, "{other}"),
        }
    }

    /// The parts that a text has by a format; `None` where they do not fit. Missing parts of the time are zero, a
    /// missing month or day is the first.
    fn parse(text: &[u8], format: &[u8]) -> Option<Self> {
        let mut moment = Moment {
            year: 0,
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
        };
        let mut text = text.trim_ascii();
        let mut afternoon = None;
        let mut format = format.iter();
        while let Some(byte) = format.next() {
            if byte.is_ascii_whitespace() {
                text = text.trim_ascii_start();
            } else if *byte != b'%' {
                text = text.strip_prefix(&[*byte])?;
            } else {
                text = moment.take(text, *format.next()?, &mut afternoon)?;
            }
        }
        if let Some(afternoon) = afternoon {
            moment.hour = moment.hour % 12 + if afternoon { 12 } else { 0 };
        }
        text.is_empty().then_some(moment)
    }

    /// Reads one part off the text.
    fn take<'a>(
        &mut self,
        text: &'a [u8],
        code: u8,
        afternoon: &mut Option<bool>,
    ) -> Option<&'a [u8]> {
        let (part, width) = match code {
            b'Y' => (&mut self.year, 4),
            b'y' => (&mut self.year, 2),
            b'm' | b'c' => (&mut self.month, 2),
            b'd' | b'e' => (&mut self.day, 2),
            b'H' | b'k' | b'h' | b'I' | b'l' => (&mut self.hour, 2),
            b'i' => (&mut self.minute, 2),
            b's' | b'S' => (&mut self.second, 2),
            b'f' => (&mut self.micros, 6),
            b'M' => {
                return take_name(text, &MONTHS, usize::MAX).map(|(i, rest)| {
                    self.month = i + 1;
                    rest
                })
            }
            b'b' => {
                return take_name(text, &MONTHS, 3).map(|(i, rest)| {
                    self.month = i + 1;
                    rest
                })
            }
            b'W' => return take_name(text, &WEEKDAYS, usize::MAX).map(|(_, rest)| rest),
            b'a' => return take_name(text, &WEEKDAYS, 3).map(|(_, rest)| rest),
            b'p' => {
                return take_name(text, &["AM", "PM"], 2).map(|(i, rest)| {
                    *afternoon = Some(i == 1);
                    rest
                })
            }
            b'T' => {
                return [b'H', b':', b'i', b':', b's']
                    .into_iter()
                    .try_fold(text, |text, code| match code {
                        b':' => text.strip_prefix(b":"),
                        code => self.take(text, code, afternoon),
                    })
            }
            other => return text.strip_prefix(&[other]),
        };
        let digits = text
            .iter()
            .take(width)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let number = std::str::from_utf8(&text[..digits])
            .ok()?
            .parse::<i64>()
            .ok()?;
        *part = match code {
            // As MySQL has it: 70 to 99 are of the last century.
            b'y' => number + if number < 70 { 2000 } else { 1900 },
            b'f' => number * 10i64.pow(6 - digits as u32),
            _ => number,
        };
        Some(&text[digits..])
    }
}

fn take_name<'a>(text: &'a [u8], names: &[&str], len: usize) -> Option<(i64, &'a [u8])> {
    names.iter().zip(0..).find_map(|(name, i)| {
        let name = &name.as_bytes()[..len.min(name.len())];
        let start = text.get(..name.len())?;
        start
            .eq_ignore_ascii_case(name)
            .then(|| (i, &text[name.len()..]))
    })
}

fn ordinal(day: i64) -> &'static str {
    match (day % 10, day / 10) {
        (_, 1) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}
