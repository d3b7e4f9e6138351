// SPDX-License-Identifier: Apache-2.0
//! Quantiles: exact up to as many values as the compression, a merging t-digest beyond.
//!
//! ```text
//! version=1  form=0  compression(4)
//! version=1  form=1  compression(4)  count(8)  count x value(8)                      ascending
//! version=1  form=2  compression(4)  lows(8) highs(8) nans(8) min(8) max(8)
//!                    count(8)  count x {mean(8) weight(8)}                           ascending means
//! ```
//! The digest is Dunning's: neighbours merge while the cluster they form spans at most one step of the arcsine scale,
//! so that clusters are small near both ends. Infinities and NaN have no mean and are counted beside it; NaN sorts
//! last, as PostgreSQL has it.
use super::codec::{Reader, SketchError};
use std::f64::consts::PI;

const VERSION: u8 = 1;
const FORM_EMPTY: u8 = 0;
const FORM_EXACT: u8 = 1;
const FORM_DIGEST: u8 = 2;

/// The compression of a state that names none.
pub const COMPRESSION_DEFAULT: f64 = 2048.0;
/// The compressions that a caller may choose.
pub const COMPRESSION_RANGE: std::ops::RangeInclusive<f64> = 2048.0..=10_000.0;

/// A set of numbers that can be asked for its quantiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantile {
    compression: u32,
    /// Values not yet in the digest; all of them while there is no digest.
    buffer: Vec<f64>,
    digest: Option<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Cluster {
    mean: f64,
    weight: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Digest {
    /// How many values are minus infinity.
    lows: u64,
    /// How many are plus infinity.
    highs: u64,
    nans: u64,
    min: f64,
    max: f64,
    clusters: Vec<Cluster>,
}

impl Default for Digest {
    fn default() -> Self {
        Digest {
            lows: 0,
            highs: 0,
            nans: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            clusters: Vec::new(),
        }
    }
}

impl Default for Quantile {
    fn default() -> Self {
        Quantile::new(COMPRESSION_DEFAULT)
    }
}

/// PostgreSQL's order of floating-point numbers: NaN equals itself and is larger than anything else.
pub fn order(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The `fraction` quantile of ascending values, at position `fraction * (n - 1)`, linear between neighbours.
pub fn exact(sorted: &[f64], fraction: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = fraction * last as f64;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    Some(between(
        sorted[below],
        sorted[above],
        position - below as f64,
    ))
}

fn between(low: f64, high: f64, part: f64) -> f64 {
    // Without the test, two equal infinities would give NaN.
    if part <= 0.0 || low == high {
        return low;
    }
    low + part * (high - low)
}

impl Quantile {
    /// An empty state. A compression outside [`COMPRESSION_RANGE`] becomes the nearest in it.
    pub fn new(compression: f64) -> Self {
        let compression = if compression.is_nan() {
            COMPRESSION_DEFAULT
        } else {
            compression
        };
        let compression =
            compression.clamp(*COMPRESSION_RANGE.start(), *COMPRESSION_RANGE.end()) as u32;
        Quantile {
            compression,
            buffer: Vec::new(),
            digest: None,
        }
    }

    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if self.buffer.len() >= self.compression as usize {
            self.compress();
        }
        self.buffer.push(value);
    }

    /// Adds everything in the other. The larger compression stays.
    pub fn merge(&mut self, other: &Quantile) {
        self.compression = self.compression.max(other.compression);
        other.buffer.iter().for_each(|value| self.add(*value));
        if let Some(theirs) = &other.digest {
            self.compress();
            let ours = self.digest.get_or_insert_default();
            ours.absorb(theirs, self.compression);
        }
    }

    /// The number of values.
    pub fn len(&self) -> u64 {
        self.buffer.len() as u64 + self.digest.as_ref().map_or(0, Digest::len)
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `fraction` quantile, `None` without values.
    pub fn quantile(&mut self, fraction: f64) -> Option<f64> {
        if self.digest.is_some() {
            self.compress();
            return self
                .digest
                .as_ref()
                .and_then(|digest| digest.quantile(fraction));
        }
        self.buffer.sort_unstable_by(order);
        exact(&self.buffer, fraction)
    }

    fn compress(&mut self) {
        self.buffer.sort_unstable_by(order);
        let digest = self.digest.get_or_insert_default();
        let mut added = Digest::default();
        for value in self.buffer.drain(..) {
            added.push(value);
        }
        digest.absorb(&added, self.compression);
    }

    /// The stored form.
    pub fn encode(&mut self) -> Vec<u8> {
        let mut out = vec![VERSION, FORM_EMPTY];
        out.extend(self.compression.to_le_bytes());
        if self.digest.is_some() {
            self.compress();
            out[1] = FORM_DIGEST;
            self.digest
                .iter()
                .for_each(|digest| digest.encode(&mut out));
        } else if !self.buffer.is_empty() {
            out[1] = FORM_EXACT;
            self.buffer.sort_unstable_by(order);
            out.extend((self.buffer.len() as u64).to_le_bytes());
            out.extend(self.buffer.iter().flat_map(|value| value.to_le_bytes()));
        }
        out
    }

    /// Decodes a stored state.
    pub fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let form = reader.u8()?;
        let compression = reader.u32()?;
        if !COMPRESSION_RANGE.contains(&f64::from(compression)) {
            return Err(SketchError::Corrupt(
                "the compression of a quantile state is out of range",
            ));
        }
        let mut state = Quantile {
            compression,
            buffer: Vec::new(),
            digest: None,
        };
        match form {
            FORM_EMPTY => {}
            FORM_EXACT => state.buffer = decode_values(&mut reader, compression as usize)?,
            FORM_DIGEST => state.digest = Some(Digest::decode(&mut reader)?),
            _ => {
                return Err(SketchError::Corrupt(
                    "the quantile state has an unknown form",
                ))
            }
        }
        reader.end()?;
        Ok(state)
    }
}

fn decode_values(reader: &mut Reader<'_>, count_max: usize) -> Result<Vec<f64>, SketchError> {
    let count = reader.count(8)?;
    let values = (0..count)
        .map(|_| reader.f64())
        .collect::<Result<Vec<f64>, _>>()?;
    if count == 0 || count > count_max || !values.is_sorted_by(|a, b| order(a, b).is_le()) {
        return Err(SketchError::Corrupt(
            "the values of a quantile state are not sorted",
        ));
    }
    Ok(values)
}

impl Digest {
    /// Adds a value that is not below any other.
    fn push(&mut self, value: f64) {
        match value {
            f64::INFINITY => self.highs += 1,
            f64::NEG_INFINITY => self.lows += 1,
            value if value.is_nan() => self.nans += 1,
            value => {
                self.min = self.min.min(value);
                self.max = self.max.max(value);
                self.clusters.push(Cluster {
                    mean: value,
                    weight: 1,
                });
            }
        }
    }

    fn weight(&self) -> u64 {
        self.clusters.iter().map(|cluster| cluster.weight).sum()
    }

    fn len(&self) -> u64 {
        self.weight() + self.lows + self.highs + self.nans
    }

    /// Merges two sorted lists of clusters and joins neighbours while the scale allows it.
    fn absorb(&mut self, other: &Digest, compression: u32) {
        self.lows += other.lows;
        self.highs += other.highs;
        self.nans += other.nans;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let mut all = std::mem::take(&mut self.clusters);
        all.extend_from_slice(&other.clusters);
        // Two sorted runs: the stable sort merges them in linear time.
        all.sort_by(|a, b| order(&a.mean, &b.mean));
        let total = all.iter().map(|cluster| cluster.weight).sum::<u64>() as f64;
        let mut done = 0u64;
        let mut limit = step(0.0, compression) * total;
        for cluster in all {
            match self.clusters.last_mut() {
                Some(last) if (done + last.weight + cluster.weight) as f64 <= limit => {
                    last.join(cluster)
                }
                last => {
                    done += last.map_or(0, |last| last.weight);
                    limit = step(done as f64 / total, compression) * total;
                    self.clusters.push(cluster);
                }
            }
        }
    }

    fn quantile(&self, fraction: f64) -> Option<f64> {
        let last = self.len().checked_sub(1)?;
        let position = fraction * last as f64;
        let below = position.floor();
        Some(between(
            self.at(below),
            self.at((below + 1.0).min(last as f64)),
            position - below,
        ))
    }

    /// The value at a whole position of the sorted values, as far as the clusters tell.
    fn at(&self, position: f64) -> f64 {
        let (lows, finite) = (self.lows as f64, self.weight() as f64);
        match position - lows {
            finite_position if finite_position < 0.0 => f64::NEG_INFINITY,
            finite_position if finite_position < finite => self.finite_at(finite_position),
            beyond if beyond < finite + self.highs as f64 => f64::INFINITY,
            _ => f64::NAN,
        }
    }

    /// A cluster's mean stands at the middle of its positions; between middles the values are linear.
    fn finite_at(&self, position: f64) -> f64 {
        let (mut left_position, mut left) = (0.0, self.min);
        let mut start = 0.0;
        for cluster in &self.clusters {
            let middle = start + (cluster.weight - 1) as f64 / 2.0;
            if position <= middle {
                return line(left_position, left, middle, cluster.mean, position);
            }
            (left_position, left) = (middle, cluster.mean);
            start += cluster.weight as f64;
        }
        line(left_position, left, start - 1.0, self.max, position)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for count in [self.lows, self.highs, self.nans] {
            out.extend(count.to_le_bytes());
        }
        out.extend(self.min.to_le_bytes());
        out.extend(self.max.to_le_bytes());
        out.extend((self.clusters.len() as u64).to_le_bytes());
        for cluster in &self.clusters {
            out.extend(cluster.mean.to_le_bytes());
            out.extend(cluster.weight.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, SketchError> {
        let (lows, highs, nans) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (min, max) = (reader.f64()?, reader.f64()?);
        let count = reader.count(16)?;
        let clusters = (0..count)
            .map(|_| {
                Ok(Cluster {
                    mean: reader.f64()?,
                    weight: reader.u64()?,
                })
            })
            .collect::<Result<Vec<Cluster>, SketchError>>()?;
        let total = clusters
            .iter()
            .map(|cluster| cluster.weight)
            .chain([lows, highs, nans])
            .try_fold(0u64, |total, weight| {
                total.checked_add(weight).filter(|total| *total < 1 << 62)
            });
        let sound = clusters.is_sorted_by(|a, b| a.mean <= b.mean)
            && clusters
                .iter()
                .all(|cluster| cluster.weight > 0 && (min..=max).contains(&cluster.mean))
            && (clusters.is_empty() || (min.is_finite() && max.is_finite()))
            && (!clusters.is_empty() || (min == f64::INFINITY && max == f64::NEG_INFINITY))
            && total.is_some_and(|total| total > 0);
        if !sound {
            return Err(SketchError::Corrupt(
                "the clusters of a quantile state are damaged",
            ));
        }
        Ok(Digest {
            lows,
            highs,
            nans,
            min,
            max,
            clusters,
        })
    }
}

impl Cluster {
    fn join(&mut self, other: Cluster) {
        let weight = (self.weight + other.weight) as f64;
        // Not `mean + (other - mean) * part`: the difference of two finite numbers can be infinite.
        let mean =
            self.mean * (self.weight as f64 / weight) + other.mean * (other.weight as f64 / weight);
        self.mean = mean.clamp(self.mean, other.mean);
        self.weight += other.weight;
    }
}

fn line(left_position: f64, left: f64, right_position: f64, right: f64, position: f64) -> f64 {
    if right_position <= left_position {
        return right;
    }
    between(
        left,
        right,
        (position - left_position) / (right_position - left_position),
    )
}

/// Where a cluster that starts at fraction `start` must end: one step further on the arcsine scale.
fn step(start: f64, compression: u32) -> f64 {
    let angle = (2.0 * start - 1.0).asin() + 2.0 * PI / f64::from(compression);
    if angle >= PI / 2.0 {
        return 1.0;
    }
    (angle.sin() + 1.0) / 2.0
}
