// SPDX-License-Identifier: Apache-2.0
//! Date and time: arithmetic, parts, truncation.
