// SPDX-License-Identifier: Apache-2.0
//! Options that say how a table is compacted. Each has a setting of the server, which holds where the table has none.
//!
//! *Size-based*: segments of like size are merged. *Time series*: segments are merged once, in the order in which they
//! came, as soon as there are enough of them, by size, number or age; for logs, which nobody changes.
use super::table;
use crate::pg;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{pg_sys, PgSqlErrorCode};

/// The options.
pub const OPTIONS: [&str; 5] = [DISABLED, POLICY, GOAL_SIZE, FILE_COUNT, TIME];
const DISABLED: &str = "disable_auto_compaction";
const POLICY: &str = "compaction_policy";
const GOAL_SIZE: &str = "time_series_compaction_goal_size_mbytes";
const FILE_COUNT: &str = "time_series_compaction_file_count_threshold";
const TIME: &str = "time_series_compaction_time_threshold_seconds";

/// The least that numbers may be, as in Doris.
const LEAST: [(&str, i32); 3] = [(GOAL_SIZE, 10), (FILE_COUNT, 10), (TIME, 60)];

/// How a table is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, pgrx::PostgresGucEnum)]
pub enum Policy {
    /// By the sizes of segments.
    #[name = c"size_based"]
    SizeBased,
    /// Once, by thresholds.
    #[name = c"time_series"]
    TimeSeries,
}

static SERVER_POLICY: GucSetting<Policy> = GucSetting::<Policy>::new(Policy::SizeBased);
static SERVER_GOAL_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1024);
static SERVER_FILE_COUNT: GucSetting<i32> = GucSetting::<i32>::new(2000);
static SERVER_TIME: GucSetting<i32> = GucSetting::<i32>::new(3600);

/// Defines the settings of the server.
pub fn define() {
    GucRegistry::define_enum_guc(
        c"doris.compaction_policy",
        c"Compaction policy of tables without the option compaction_policy.",
        c"",
        &SERVER_POLICY,
        GucContext::Sighup,
        GucFlags::default(),
    );
    let integers = [
        (
            c"doris.time_series_compaction_goal_size_mbytes",
            c"Megabytes of new segments at which a table with the policy time_series merges them.",
            &SERVER_GOAL_SIZE,
        ),
        (
            c"doris.time_series_compaction_file_count_threshold",
            c"Number of new segments at which a table with the policy time_series merges them.",
            &SERVER_FILE_COUNT,
        ),
        (
            c"doris.time_series_compaction_time_threshold_seconds",
            c"Seconds after which a table with the policy time_series merges its new segments, whatever their size and number.",
            &SERVER_TIME,
        ),
    ];
    for ((name, text, setting), (_, least)) in integers.into_iter().zip(LEAST) {
        GucRegistry::define_int_guc(
            name,
            text,
            c"A table option of the same name overrides it.",
            setting,
            least,
            i32::MAX,
            GucContext::Sighup,
            GucFlags::default(),
        );
    }
}

/// From when on new segments are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSeries {
    /// Bytes of them.
    pub goal_bytes: u64,
    /// How many there are.
    pub segments: usize,
    /// How long they wait.
    pub wait_us: i64,
}

/// Whether a table is compacted in the background.
pub fn is_automatic(relid: pg_sys::Oid) -> bool {
    let options = table::of(relid);
    let disabled = |(option, value): &(String, String)| option == DISABLED && value == "true";
    !options.iter().any(disabled)
}

/// The thresholds of a table with the time-series policy; `None` for other tables.
pub fn time_series(relid: pg_sys::Oid) -> Option<TimeSeries> {
    let options = table::of(relid);
    let own = |name: &str| {
        let found = options.iter().find(|(option, _)| option == name);
        found.map(|(_, value)| value.as_str())
    };
    let policy = match own(POLICY) {
        Some(name) => named(name).unwrap_or(Policy::SizeBased),
        None => SERVER_POLICY.get(),
    };
    if policy != Policy::TimeSeries {
        return None;
    }
    let number = |name: &str, setting: &GucSetting<i32>| {
        let Some(value) = own(name) else {
            return setting.get();
        };
        // Checked when it was set.
        let number = value.parse::<i32>();
        number.unwrap_or_else(|_| pgrx::error!("option {name} of a table holds \"{value}\""))
    };
    Some(TimeSeries {
        goal_bytes: (number(GOAL_SIZE, &SERVER_GOAL_SIZE) as u64) << 20,
        segments: number(FILE_COUNT, &SERVER_FILE_COUNT) as usize,
        wait_us: i64::from(number(TIME, &SERVER_TIME)) * 1_000_000,
    })
}

fn named(name: &str) -> Option<Policy> {
    match name {
        "size_based" => Some(Policy::SizeBased),
        "time_series" => Some(Policy::TimeSeries),
        _ => None,
    }
}

/// The value of an option written one way; an error for one that it cannot have.
pub fn checked(rel: pg_sys::Relation, option: &str, value: &str) -> String {
    let refuse = |hint: &str| -> ! {
        let table = pg::relation_name(rel);
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid value for option \"{option}\" of table \"{table}\": \"{value}\""),
            hint,
        )
    };
    let clean = value.trim().to_lowercase();
    if option == POLICY {
        if named(&clean).is_none() {
            refuse("Policies are size_based and time_series.");
        }
        return clean;
    }
    if option == DISABLED {
        return match clean.as_str() {
            "true" | "on" | "yes" | "1" => "true".into(),
            "false" | "off" | "no" | "0" => "false".into(),
            _ => refuse("Give true or false."),
        };
    }
    let least = LEAST.iter().find(|(name, _)| *name == option);
    let least = least.map_or(1, |(_, least)| *least);
    match clean.parse::<i32>() {
        Ok(number) if number >= least => number.to_string(),
        _ => refuse(&format!("Give an integer from {least} on.")),
    }
}
