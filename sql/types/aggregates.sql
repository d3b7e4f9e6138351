-- SPDX-License-Identifier: Apache-2.0
-- Doris's aggregates on ordinary values.
CREATE FUNCTION _max_by_trans(internal, anyelement, anycompatible) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_max_by_trans';
CREATE FUNCTION _max_by_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_max_by_combine';
CREATE FUNCTION _max_by_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_max_by_serial';
CREATE FUNCTION _max_by_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_max_by_deserial';
CREATE FUNCTION _max_by_final(internal, anyelement, anycompatible) RETURNS anyelement
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_max_by_final';
CREATE AGGREGATE max_by(anyelement, anycompatible) (
  SFUNC = _max_by_trans, STYPE = internal, FINALFUNC = _max_by_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _max_by_combine, SERIALFUNC = _max_by_serial, DESERIALFUNC = _max_by_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _min_by_trans(internal, anyelement, anycompatible) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_min_by_trans';
CREATE FUNCTION _min_by_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_min_by_combine';
CREATE FUNCTION _min_by_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_min_by_serial';
CREATE FUNCTION _min_by_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_min_by_deserial';
CREATE FUNCTION _min_by_final(internal, anyelement, anycompatible) RETURNS anyelement
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_min_by_final';
CREATE AGGREGATE min_by(anyelement, anycompatible) (
  SFUNC = _min_by_trans, STYPE = internal, FINALFUNC = _min_by_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _min_by_combine, SERIALFUNC = _min_by_serial, DESERIALFUNC = _min_by_deserial, PARALLEL = SAFE
);

-- PostgreSQL 16 and later have their own any_value, which comes first there.
CREATE FUNCTION _any_value_trans(anyelement, anyelement) RETURNS anyelement
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_any_value_trans';
CREATE AGGREGATE any_value(anyelement) (
  SFUNC = _any_value_trans, STYPE = anyelement, COMBINEFUNC = _any_value_trans, PARALLEL = SAFE
);

-- Sums that are zero, not NULL, of nothing.
CREATE AGGREGATE sum0(smallint) (SFUNC = int82pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE);
CREATE AGGREGATE sum0(integer) (SFUNC = int84pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE);
CREATE AGGREGATE sum0(bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE);
CREATE AGGREGATE sum0(numeric) (SFUNC = numeric_add, STYPE = numeric, INITCOND = '0', COMBINEFUNC = numeric_add, PARALLEL = SAFE);
CREATE AGGREGATE sum0(real) (SFUNC = float84pl, STYPE = double precision, INITCOND = '0', COMBINEFUNC = float8pl, PARALLEL = SAFE);
CREATE AGGREGATE sum0(double precision) (SFUNC = float8pl, STYPE = double precision, INITCOND = '0', COMBINEFUNC = float8pl, PARALLEL = SAFE);

-- Bits of all values of a group.
CREATE AGGREGATE group_bit_and(smallint) (SFUNC = int2and, STYPE = smallint, COMBINEFUNC = int2and, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_or(smallint) (SFUNC = int2or, STYPE = smallint, COMBINEFUNC = int2or, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_xor(smallint) (SFUNC = int2xor, STYPE = smallint, COMBINEFUNC = int2xor, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_and(integer) (SFUNC = int4and, STYPE = integer, COMBINEFUNC = int4and, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_or(integer) (SFUNC = int4or, STYPE = integer, COMBINEFUNC = int4or, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_xor(integer) (SFUNC = int4xor, STYPE = integer, COMBINEFUNC = int4xor, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_and(bigint) (SFUNC = int8and, STYPE = bigint, COMBINEFUNC = int8and, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_or(bigint) (SFUNC = int8or, STYPE = bigint, COMBINEFUNC = int8or, PARALLEL = SAFE);
CREATE AGGREGATE group_bit_xor(bigint) (SFUNC = int8xor, STYPE = bigint, COMBINEFUNC = int8xor, PARALLEL = SAFE);

-- Lists, sets and maps.
CREATE FUNCTION _collect_list_trans(internal, anycompatible) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_list_trans';
CREATE FUNCTION _collect_list_final(internal, anycompatible) RETURNS anycompatiblearray
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_list_final';
CREATE FUNCTION _collect_list_trans(internal, anycompatible, integer) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_list_trans';
CREATE FUNCTION _collect_list_final(internal, anycompatible, integer) RETURNS anycompatiblearray
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_list_final';
CREATE FUNCTION _collect_list_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_list_combine';
CREATE FUNCTION _collect_list_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_list_serial';
CREATE FUNCTION _collect_list_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_list_deserial';
CREATE AGGREGATE collect_list(anycompatible) (
  SFUNC = _collect_list_trans, STYPE = internal, FINALFUNC = _collect_list_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_list_combine, SERIALFUNC = _collect_list_serial, DESERIALFUNC = _collect_list_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE collect_list(anycompatible, integer) (
  SFUNC = _collect_list_trans, STYPE = internal, FINALFUNC = _collect_list_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_list_combine, SERIALFUNC = _collect_list_serial, DESERIALFUNC = _collect_list_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE group_array(anycompatible) (
  SFUNC = _collect_list_trans, STYPE = internal, FINALFUNC = _collect_list_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_list_combine, SERIALFUNC = _collect_list_serial, DESERIALFUNC = _collect_list_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE group_array(anycompatible, integer) (
  SFUNC = _collect_list_trans, STYPE = internal, FINALFUNC = _collect_list_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_list_combine, SERIALFUNC = _collect_list_serial, DESERIALFUNC = _collect_list_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _collect_set_trans(internal, anycompatible) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_set_trans';
CREATE FUNCTION _collect_set_final(internal, anycompatible) RETURNS anycompatiblearray
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_set_final';
CREATE FUNCTION _collect_set_trans(internal, anycompatible, integer) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_set_trans';
CREATE FUNCTION _collect_set_final(internal, anycompatible, integer) RETURNS anycompatiblearray
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_set_final';
CREATE FUNCTION _collect_set_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_set_combine';
CREATE FUNCTION _collect_set_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_set_serial';
CREATE FUNCTION _collect_set_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_collect_set_deserial';
CREATE AGGREGATE collect_set(anycompatible) (
  SFUNC = _collect_set_trans, STYPE = internal, FINALFUNC = _collect_set_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_set_combine, SERIALFUNC = _collect_set_serial, DESERIALFUNC = _collect_set_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE collect_set(anycompatible, integer) (
  SFUNC = _collect_set_trans, STYPE = internal, FINALFUNC = _collect_set_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_set_combine, SERIALFUNC = _collect_set_serial, DESERIALFUNC = _collect_set_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE group_uniq_array(anycompatible) (
  SFUNC = _collect_set_trans, STYPE = internal, FINALFUNC = _collect_set_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_set_combine, SERIALFUNC = _collect_set_serial, DESERIALFUNC = _collect_set_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE group_uniq_array(anycompatible, integer) (
  SFUNC = _collect_set_trans, STYPE = internal, FINALFUNC = _collect_set_final, FINALFUNC_EXTRA,
  COMBINEFUNC = _collect_set_combine, SERIALFUNC = _collect_set_serial, DESERIALFUNC = _collect_set_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _map_agg_trans(internal, anyelement, anycompatible) RETURNS internal
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_map_agg_trans';
CREATE FUNCTION _map_agg_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_map_agg_combine';
CREATE FUNCTION _map_agg_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_map_agg_serial';
CREATE FUNCTION _map_agg_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_map_agg_deserial';
CREATE FUNCTION _map_agg_final(internal) RETURNS jsonb
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_map_agg_final';
CREATE AGGREGATE map_agg(anyelement, anycompatible) (
  SFUNC = _map_agg_trans, STYPE = internal, FINALFUNC = _map_agg_final,
  COMBINEFUNC = _map_agg_combine, SERIALFUNC = _map_agg_serial, DESERIALFUNC = _map_agg_deserial, PARALLEL = SAFE
);

-- Text.
CREATE FUNCTION _group_concat_trans(internal, text) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_group_concat_trans';
CREATE FUNCTION _group_concat_trans(internal, text, text) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_group_concat_trans';
CREATE FUNCTION _group_concat_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_group_concat_combine';
CREATE FUNCTION _group_concat_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_group_concat_serial';
CREATE FUNCTION _group_concat_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_group_concat_deserial';
CREATE FUNCTION _group_concat_final(internal) RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_group_concat_final';
CREATE AGGREGATE group_concat(text) (
  SFUNC = _group_concat_trans, STYPE = internal, FINALFUNC = _group_concat_final,
  COMBINEFUNC = _group_concat_combine, SERIALFUNC = _group_concat_serial, DESERIALFUNC = _group_concat_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE group_concat(text, text) (
  SFUNC = _group_concat_trans, STYPE = internal, FINALFUNC = _group_concat_final,
  COMBINEFUNC = _group_concat_combine, SERIALFUNC = _group_concat_serial, DESERIALFUNC = _group_concat_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _topn_trans(internal, anycompatible, integer) RETURNS internal
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_topn_trans';
CREATE FUNCTION _topn_trans(internal, anycompatible, integer, integer) RETURNS internal
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_topn_trans';
CREATE FUNCTION _topn_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_topn_combine';
CREATE FUNCTION _topn_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_topn_serial';
CREATE FUNCTION _topn_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_topn_deserial';
CREATE FUNCTION _topn_final(internal) RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_topn_final';
CREATE AGGREGATE topn(anycompatible, integer) (
  SFUNC = _topn_trans, STYPE = internal, SSPACE = 8192, FINALFUNC = _topn_final,
  COMBINEFUNC = _topn_combine, SERIALFUNC = _topn_serial, DESERIALFUNC = _topn_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE topn(anycompatible, integer, integer) (
  SFUNC = _topn_trans, STYPE = internal, SSPACE = 8192, FINALFUNC = _topn_final,
  COMBINEFUNC = _topn_combine, SERIALFUNC = _topn_serial, DESERIALFUNC = _topn_deserial, PARALLEL = SAFE
);

-- Events.
CREATE FUNCTION _retention_trans(internal, VARIADIC boolean[]) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_retention_trans';
CREATE FUNCTION _retention_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_retention_combine';
CREATE FUNCTION _retention_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_retention_serial';
CREATE FUNCTION _retention_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_retention_deserial';
CREATE FUNCTION _retention_final(internal) RETURNS integer[]
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_retention_final';
CREATE AGGREGATE retention(VARIADIC boolean[]) (
  SFUNC = _retention_trans, STYPE = internal, FINALFUNC = _retention_final,
  COMBINEFUNC = _retention_combine, SERIALFUNC = _retention_serial, DESERIALFUNC = _retention_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _window_funnel_trans(internal, bigint, text, timestamp, VARIADIC boolean[]) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_window_funnel_trans';
CREATE FUNCTION _window_funnel_trans(internal, bigint, text, timestamptz, VARIADIC boolean[]) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_window_funnel_trans';
CREATE FUNCTION _window_funnel_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_window_funnel_combine';
CREATE FUNCTION _window_funnel_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_window_funnel_serial';
CREATE FUNCTION _window_funnel_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_window_funnel_deserial';
CREATE FUNCTION _window_funnel_final(internal) RETURNS integer
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_window_funnel_final';
CREATE AGGREGATE window_funnel(bigint, text, timestamp, VARIADIC boolean[]) (
  SFUNC = _window_funnel_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _window_funnel_final,
  COMBINEFUNC = _window_funnel_combine, SERIALFUNC = _window_funnel_serial, DESERIALFUNC = _window_funnel_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE window_funnel(bigint, text, timestamptz, VARIADIC boolean[]) (
  SFUNC = _window_funnel_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _window_funnel_final,
  COMBINEFUNC = _window_funnel_combine, SERIALFUNC = _window_funnel_serial, DESERIALFUNC = _window_funnel_deserial, PARALLEL = SAFE
);
CREATE FUNCTION _sequence_trans(internal, text, timestamp, VARIADIC boolean[]) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sequence_trans';
CREATE FUNCTION _sequence_trans(internal, text, timestamptz, VARIADIC boolean[]) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sequence_trans';
CREATE FUNCTION _sequence_combine(internal, internal) RETURNS internal
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sequence_combine';
CREATE FUNCTION _sequence_serial(internal) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sequence_serial';
CREATE FUNCTION _sequence_deserial(bytea, internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sequence_deserial';
CREATE FUNCTION _sequence_match_final(internal) RETURNS boolean
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sequence_match_final';
CREATE FUNCTION _sequence_count_final(internal) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_sequence_count_final';
CREATE AGGREGATE sequence_match(text, timestamp, VARIADIC boolean[]) (
  SFUNC = _sequence_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _sequence_match_final,
  COMBINEFUNC = _sequence_combine, SERIALFUNC = _sequence_serial, DESERIALFUNC = _sequence_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE sequence_match(text, timestamptz, VARIADIC boolean[]) (
  SFUNC = _sequence_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _sequence_match_final,
  COMBINEFUNC = _sequence_combine, SERIALFUNC = _sequence_serial, DESERIALFUNC = _sequence_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE sequence_count(text, timestamp, VARIADIC boolean[]) (
  SFUNC = _sequence_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _sequence_count_final,
  COMBINEFUNC = _sequence_combine, SERIALFUNC = _sequence_serial, DESERIALFUNC = _sequence_deserial, PARALLEL = SAFE
);
CREATE AGGREGATE sequence_count(text, timestamptz, VARIADIC boolean[]) (
  SFUNC = _sequence_trans, STYPE = internal, SSPACE = 4096, FINALFUNC = _sequence_count_final,
  COMBINEFUNC = _sequence_combine, SERIALFUNC = _sequence_serial, DESERIALFUNC = _sequence_deserial, PARALLEL = SAFE
);
