// SPDX-License-Identifier: Apache-2.0
//! Frames of windows: which rows around a row count, and the offsets of RANGE.
use super::super::super::scope::Scope;
use super::super::super::{no, Converted};
use super::super::Converter;
use doris_engine::expr::{ArithOp, Expr, ExprKind};
use doris_engine::plan::{Bound, Exclude, Frame, FrameUnit, RangeLimit, RangeOffsets};
use doris_engine::types::{DataType, Scalar};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

const NEGATIVE_OFFSET: &str = "a frame's offset that is negative";

impl Converter<'_> {
    /// The ends of a frame of RANGE with offsets, as PostgreSQL's `in_range` functions find them.
    pub(super) unsafe fn range_offsets(
        &mut self,
        agg: *mut pg_sys::WindowAgg,
        input: &Scope,
        order: &[Expr],
        frame: &Frame,
    ) -> Converted<Option<Box<RangeOffsets>>> {
        let counted = |bound| matches!(bound, Bound::Preceding(_) | Bound::Following(_));
        if frame.unit != FrameUnit::Range || !(counted(frame.start) || counted(frame.end)) {
            return Ok(None);
        }
        let [key] = order else {
            return no("RANGE with an offset over several columns");
        };
        // SAFETY: as for `top`; a WindowAgg's offsets are expressions or null.
        unsafe {
            let descending = !(*agg).inRangeAsc;
            let mut limit = |bound, node: *mut pg_sys::Node| {
                let minus = match bound {
                    Bound::Preceding(_) => !descending,
                    Bound::Following(_) => descending,
                    _ => return Ok(None),
                };
                let limit = self.range_limit(key, node, minus);
                let zoned = key.data_type() == DataType::TimestampTz;
                let limit = match limit {
                    Err(_) if zoned => {
                        self.zoned_limit((input, *(*agg).ordColIdx), key, node, minus)
                    }
                    limit => limit,
                };
                limit.map(Some)
            };
            let start = limit(frame.start, (*agg).startOffset)?;
            let end = limit(frame.end, (*agg).endOffset)?;
            let Some(key) = start.iter().chain(&end).map(|(key, _)| key.clone()).next() else {
                return Ok(None);
            };
            let mut range = RangeOffsets {
                key,
                start: start.map(|(_, limit)| limit),
                end: end.map(|(_, limit)| limit),
                descending,
                nulls_first: (*agg).inRangeNullsFirst,
            };
            let scale = range.exprs().map(scale_of).max().unwrap_or(0);
            range.key = at_scale(range.key, scale)?;
            for limit in [&mut range.start, &mut range.end].into_iter().flatten() {
                if let RangeLimit::Value(value) = limit {
                    *value = at_scale(value.clone(), scale)?;
                }
            }
            Ok(Some(Box::new(range)))
        }
    }

    /// A key and the same less (or plus) an offset, in a type that holds both.
    unsafe fn range_limit(
        &mut self,
        key: &Expr,
        offset: *mut pg_sys::Node,
        minus: bool,
    ) -> Converted<(Expr, RangeLimit)> {
        // SAFETY: an expression of a finished plan.
        let offset = unsafe {
            if (*offset).type_ != NodeTag::T_Const {
                return no("a frame's offset that is not a constant");
            }
            self.translate(&Scope::default(), offset)?
        };
        limit_of(key, offset, minus)
    }

    /// A timestamp with time zone and the same less (or plus) an interval, whose days and months depend on the
    /// session's time zone: PostgreSQL computes it.
    unsafe fn zoned_limit(
        &mut self,
        (input, at): (&Scope, pg_sys::AttrNumber),
        key: &Expr,
        offset: *mut pg_sys::Node,
        minus: bool,
    ) -> Converted<(Expr, RangeLimit)> {
        // SAFETY: expressions of a finished plan; the offset is a constant once its type has been looked at.
        unsafe {
            if (*offset).type_ != NodeTag::T_Const
                || pg_sys::exprType(offset) != pg_sys::INTERVALOID
                || !is_rising(&self.translate(&Scope::default(), offset)?)
            {
                return no("a frame's offset that may be negative");
            }
            let Some(item) = (at as usize)
                .checked_sub(1)
                .and_then(|at| input.items.get(at))
            else {
                return no("a window's column beyond the input's");
            };
            let function = match minus {
                true => pg_sys::F_TIMESTAMPTZ_MI_INTERVAL,
                false => pg_sys::F_TIMESTAMPTZ_PL_INTERVAL,
            };
            let mut args = PgList::<pg_sys::Node>::new();
            args.push(item.node);
            args.push(offset);
            let limit = pg_sys::makeFuncExpr(
                pg_sys::Oid::from(function),
                pg_sys::TIMESTAMPTZOID,
                args.into_pg(),
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
            );
            let limit = self.translate(input, limit.cast())?;
            Ok((key.clone(), RangeLimit::Value(limit)))
        }
    }
}

/// The frame of a window; RANGE's offsets are looked at by `range_offsets`.
pub(super) unsafe fn frame(agg: *mut pg_sys::WindowAgg) -> Converted<Frame> {
    // SAFETY: a WindowAgg of a finished plan.
    let (options, start, end) = unsafe {
        (
            (*agg).frameOptions as u32,
            (*agg).startOffset,
            (*agg).endOffset,
        )
    };
    let has = |flag: u32| options & flag != 0;
    let unit = match () {
        () if has(pg_sys::FRAMEOPTION_ROWS) => FrameUnit::Rows,
        () if has(pg_sys::FRAMEOPTION_GROUPS) => FrameUnit::Groups,
        () => FrameUnit::Range,
    };
    let offset = |node| match unit {
        // See `range_offsets`.
        FrameUnit::Range => Ok(0),
        // SAFETY: the offsets of the WindowAgg.
        _ => unsafe { offset(node) },
    };
    let start = match () {
        () if has(pg_sys::FRAMEOPTION_START_UNBOUNDED_PRECEDING) => Bound::UnboundedPreceding,
        () if has(pg_sys::FRAMEOPTION_START_CURRENT_ROW) => Bound::CurrentRow,
        () if has(pg_sys::FRAMEOPTION_START_OFFSET_PRECEDING) => Bound::Preceding(offset(start)?),
        () if has(pg_sys::FRAMEOPTION_START_OFFSET_FOLLOWING) => Bound::Following(offset(start)?),
        () => return no("a window's frame"),
    };
    let end = match () {
        () if has(pg_sys::FRAMEOPTION_END_UNBOUNDED_FOLLOWING) => Bound::UnboundedFollowing,
        () if has(pg_sys::FRAMEOPTION_END_CURRENT_ROW) => Bound::CurrentRow,
        () if has(pg_sys::FRAMEOPTION_END_OFFSET_PRECEDING) => Bound::Preceding(offset(end)?),
        () if has(pg_sys::FRAMEOPTION_END_OFFSET_FOLLOWING) => Bound::Following(offset(end)?),
        () => return no("a window's frame"),
    };
    let exclude = match () {
        () if has(pg_sys::FRAMEOPTION_EXCLUDE_CURRENT_ROW) => Exclude::CurrentRow,
        () if has(pg_sys::FRAMEOPTION_EXCLUDE_GROUP) => Exclude::Group,
        () if has(pg_sys::FRAMEOPTION_EXCLUDE_TIES) => Exclude::Ties,
        () => Exclude::Nothing,
    };
    Ok(Frame {
        unit,
        start,
        end,
        exclude,
    })
}

/// A frame's offset; PostgreSQL complains of those that are no constants of at least 0.
unsafe fn offset(node: *mut pg_sys::Node) -> Converted<u64> {
    // SAFETY: passed on to the caller: an expression of a finished plan, or null.
    match unsafe { integer(node) }.and_then(|offset| u64::try_from(offset).ok()) {
        Some(offset) => Ok(offset),
        None => no("a frame's offset that is not a constant"),
    }
}

/// An integer constant.
pub(super) unsafe fn integer(node: *mut pg_sys::Node) -> Option<i64> {
    // SAFETY: the caller's expression of a finished plan, or null; the tag says whether it is a constant, and its type
    // what it holds.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_Const {
            return None;
        }
        let constant = node as *mut pg_sys::Const;
        let word = (*constant).constvalue.value();
        match (*constant).consttype {
            _ if (*constant).constisnull => None,
            pg_sys::INT8OID => Some(word as i64),
            pg_sys::INT4OID => Some(i64::from(word as i32)),
            _ => None,
        }
    }
}

/// A key and the same less (or plus) a constant offset, in a type that holds both.
fn limit_of(key: &Expr, offset: Expr, minus: bool) -> Converted<(Expr, RangeLimit)> {
    let op = if minus { ArithOp::Sub } else { ArithOp::Add };
    let value = match offset.kind() {
        ExprKind::Const(Some(value)) => value.clone(),
        _ => return no("a frame's offset that is NULL"),
    };
    match (key.data_type(), offset.data_type()) {
        (a, b) if a.is_integer() && b.is_integer() => {
            let Some(value) = value.as_i128().filter(|value| *value >= 0) else {
                return no(NEGATIVE_OFFSET);
            };
            let key = Expr::to_numeric(key.clone())?;
            let limit = Expr::arith_checked(op, key.clone(), Expr::numeric(value, 0)?)?;
            Ok((key, RangeLimit::Value(limit)))
        }
        (a, DataType::Float8) if a.is_float() => float_limit(key, &value, minus),
        (DataType::Time, DataType::Interval) => Ok((key.clone(), time_limit(&value, minus)?)),
        // The order of intervals.
        (DataType::Numeric { .. }, DataType::Interval) => {
            let offset = Expr::interval_order(offset)?;
            let length = offset.as_const().cloned().flatten();
            if length.and_then(|l| l.as_i128()).is_none_or(|l| l < 0) {
                return no(NEGATIVE_OFFSET);
            }
            let limit = Expr::arith_checked(op, key.clone(), offset)?;
            Ok((key.clone(), RangeLimit::Value(limit)))
        }
        (DataType::Numeric { .. }, DataType::Numeric { .. }) => {
            if value.as_i128().is_none_or(|value| value < 0) {
                return no(NEGATIVE_OFFSET);
            }
            let limit = Expr::arith_checked(op, key.clone(), offset)?;
            Ok((key.clone(), RangeLimit::Value(limit)))
        }
        (DataType::Date | DataType::Timestamp | DataType::TimestampTz, DataType::Interval) => {
            if !is_rising(&offset) {
                return no("a frame's offset that may be negative");
            }
            let limit = Expr::add_interval(key.clone(), offset, minus, None)?;
            let key = match key.data_type() {
                DataType::Date => Expr::cast(key.clone(), DataType::Timestamp)?,
                _ => key.clone(),
            };
            Ok((key, RangeLimit::Value(limit)))
        }
        (key, _) => no(format!("RANGE with an offset over {key}")),
    }
}

/// A float8 or float4 key, which is compared as float8, and its offset.
fn float_limit(key: &Expr, offset: &Scalar, minus: bool) -> Converted<(Expr, RangeLimit)> {
    let Scalar::F64(offset) = *offset else {
        return no("a frame's offset that is no float");
    };
    if offset.is_nan() || offset < 0.0 {
        return no(NEGATIVE_OFFSET);
    }
    let key = match key.data_type() {
        DataType::Float8 => key.clone(),
        _ => Expr::cast(key.clone(), DataType::Float8)?,
    };
    Ok((key, RangeLimit::Float { offset, minus }))
}

/// The offset of times of day, which do not wrap around; days and months of an interval do not count.
fn time_limit(offset: &Scalar, minus: bool) -> Converted<RangeLimit> {
    /// Microseconds, farther than any time of day.
    const BEYOND_A_DAY_US: i64 = 1 << 50;
    let Scalar::Bytes(bytes) = offset else {
        return no("a frame's offset that is no interval");
    };
    let time = bytes.first_chunk().map_or(-1, |b| i64::from_le_bytes(*b));
    if time < 0 {
        return no(NEGATIVE_OFFSET);
    }
    let time = time.min(BEYOND_A_DAY_US);
    Ok(RangeLimit::Plus(if minus { -time } else { time }))
}

/// Whether a constant is an interval none of whose parts is negative.
fn is_rising(offset: &Expr) -> bool {
    let Some(Some(Scalar::Bytes(bytes))) = offset.as_const() else {
        return false;
    };
    let negative = |at: usize| bytes.get(at).is_none_or(|byte| byte & 0x80 != 0);
    !(negative(7) || negative(11) || negative(15))
}

/// Decimal digits behind the point; none of what is no numeric.
fn scale_of(expr: &Expr) -> i16 {
    match expr.data_type() {
        DataType::Numeric { scale, .. } => scale,
        _ => 0,
    }
}

/// The same values with at least `scale` digits behind the point.
fn at_scale(expr: Expr, scale: i16) -> Converted<Expr> {
    match scale_of(&expr) < scale {
        true => Ok(Expr::arith_checked(
            ArithOp::Add,
            expr,
            Expr::numeric(0, scale)?,
        )?),
        false => Ok(expr),
    }
}
