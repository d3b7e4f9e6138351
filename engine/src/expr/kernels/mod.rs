// SPDX-License-Identifier: Apache-2.0
//! Kernels: what nodes do to their operands' values, a file a family.

pub(super) mod compare;

pub(super) mod arith;
pub(super) mod cast;
pub(super) mod datetime;
pub(super) mod decimal;
pub(super) mod interval_parts;
pub(super) mod math;
pub(super) mod text;

pub(super) mod call;

pub(super) mod in_list;
pub(super) mod like;
pub(super) mod replace;

pub(super) mod collected_row;

pub(super) mod control;
pub(super) mod logic;
