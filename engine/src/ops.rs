// SPDX-License-Identifier: Apache-2.0
//! The operators, in the order data usually travels through them.

pub mod scan;

pub mod filter_project;

pub mod aggregate;

pub mod join;

pub mod sort;

pub mod setop;

pub mod window;
