-- SPDX-License-Identifier: Apache-2.0
-- Type quantile_state, and percentiles.
CREATE TYPE quantile_state;
CREATE FUNCTION quantile_state_in(cstring) RETURNS quantile_state
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_in';
CREATE FUNCTION quantile_state_out(quantile_state) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_out';
CREATE FUNCTION quantile_state_recv(internal) RETURNS quantile_state
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_recv';
CREATE FUNCTION quantile_state_send(quantile_state) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_send';
CREATE TYPE quantile_state (
  INPUT = quantile_state_in, OUTPUT = quantile_state_out, RECEIVE = quantile_state_recv, SEND = quantile_state_send,
  INTERNALLENGTH = variable, ALIGNMENT = int4, STORAGE = extended
);

CREATE FUNCTION to_quantile_state(double precision) RETURNS quantile_state
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_to_quantile_state';
CREATE FUNCTION to_quantile_state(double precision, double precision) RETURNS quantile_state
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_to_quantile_state';
CREATE FUNCTION quantile_percent(quantile_state, double precision) RETURNS double precision
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_percent';
CREATE FUNCTION _quantile_union_trans(internal, quantile_state) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_union_trans';
CREATE FUNCTION _quantile_union_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_union_combine';
CREATE FUNCTION _quantile_union_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_union_serial';
CREATE FUNCTION _quantile_union_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_union_deserial';
CREATE FUNCTION _quantile_union_final(internal) RETURNS quantile_state
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_quantile_union_final';
CREATE AGGREGATE quantile_union(quantile_state) (
  SFUNC = _quantile_union_trans, STYPE = internal, SSPACE = 16384, FINALFUNC = _quantile_union_final,
  COMBINEFUNC = _quantile_union_combine, SERIALFUNC = _quantile_union_serial, DESERIALFUNC = _quantile_union_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _percentile_approx_trans(internal, double precision, double precision) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_approx_trans';
CREATE FUNCTION _percentile_approx_trans(internal, double precision, double precision, double precision) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_approx_trans';
CREATE FUNCTION _percentile_approx_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_approx_combine';
CREATE FUNCTION _percentile_approx_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_approx_serial';
CREATE FUNCTION _percentile_approx_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_approx_deserial';
CREATE FUNCTION _percentile_approx_final(internal) RETURNS double precision
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_approx_final';
CREATE AGGREGATE percentile_approx(double precision, double precision) (
  SFUNC = _percentile_approx_trans, STYPE = internal, SSPACE = 65536, FINALFUNC = _percentile_approx_final,
  COMBINEFUNC = _percentile_approx_combine, SERIALFUNC = _percentile_approx_serial, DESERIALFUNC = _percentile_approx_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE percentile_approx(double precision, double precision, double precision) (
  SFUNC = _percentile_approx_trans, STYPE = internal, SSPACE = 65536, FINALFUNC = _percentile_approx_final,
  COMBINEFUNC = _percentile_approx_combine, SERIALFUNC = _percentile_approx_serial, DESERIALFUNC = _percentile_approx_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _percentile_trans(internal, double precision, double precision) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_trans';
CREATE FUNCTION _percentile_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_combine';
CREATE FUNCTION _percentile_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_serial';
CREATE FUNCTION _percentile_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_deserial';
CREATE FUNCTION _percentile_final(internal) RETURNS double precision
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_percentile_final';
CREATE AGGREGATE percentile(double precision, double precision) (
  SFUNC = _percentile_trans, STYPE = internal, SSPACE = 65536, FINALFUNC = _percentile_final,
  COMBINEFUNC = _percentile_combine, SERIALFUNC = _percentile_serial, DESERIALFUNC = _percentile_deserial, PARALLEL = SAFE
);
