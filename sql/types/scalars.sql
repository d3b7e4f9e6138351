-- SPDX-License-Identifier: Apache-2.0
-- Doris's functions on arrays, maps, JSON, dates, addresses and vectors, where PostgreSQL has none or another.
-- Bodies of polymorphic functions are strings, which are parsed when they run: names in them are qualified. They compare
-- by GROUP BY, ORDER BY and INTERSECT, which use a type's default operators and for which NULL is a value.

-- Arrays
CREATE FUNCTION array_contains(anycompatiblearray, anycompatible) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN $1 IS NOT NULL THEN pg_catalog.array_position($1, $2) IS NOT NULL END
$$;
CREATE FUNCTION array_position(anycompatiblearray, anycompatible) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN $1 IS NOT NULL THEN
    coalesce(pg_catalog.array_position($1, $2) - pg_catalog.array_lower($1, 1) + 1, 0) END
$$;
CREATE FUNCTION element_at(anyarray, integer) RETURNS anyelement
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT $1[CASE WHEN $2 > 0 THEN pg_catalog.array_lower($1, 1) + $2 - 1
    WHEN $2 < 0 AND $2 >= -pg_catalog.cardinality($1) THEN pg_catalog.array_upper($1, 1) + $2 + 1 END]
$$;
CREATE FUNCTION element_at(jsonb, text) RETURNS jsonb
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 -> $2;
CREATE FUNCTION array_sort(anyarray) RETURNS anyarray
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT x FROM pg_catalog.unnest($1) x ORDER BY x NULLS FIRST)
$$;
CREATE FUNCTION array_reverse_sort(anyarray) RETURNS anyarray
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT x FROM pg_catalog.unnest($1) x ORDER BY x DESC NULLS LAST)
$$;
CREATE FUNCTION array_distinct(anyarray) RETURNS anyarray
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT x FROM pg_catalog.unnest($1) WITH ORDINALITY u(x, i) GROUP BY x ORDER BY pg_catalog.min(i))
$$;
CREATE FUNCTION array_union(anycompatiblearray, anycompatiblearray) RETURNS anycompatiblearray
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT x FROM (
      SELECT x, i, false AS in_second FROM pg_catalog.unnest($1) WITH ORDINALITY u(x, i)
      UNION ALL SELECT x, i + pg_catalog.cardinality($1), true FROM pg_catalog.unnest($2) WITH ORDINALITY u(x, i)) v
    GROUP BY x ORDER BY pg_catalog.min(i))
$$;
CREATE FUNCTION array_intersect(anycompatiblearray, anycompatiblearray) RETURNS anycompatiblearray
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT x FROM (
      SELECT x, i, false AS in_second FROM pg_catalog.unnest($1) WITH ORDINALITY u(x, i)
      UNION ALL SELECT x, NULL, true FROM pg_catalog.unnest($2) WITH ORDINALITY u(x, i)) v
    GROUP BY x
    HAVING pg_catalog.bool_or(in_second) AND NOT pg_catalog.bool_and(in_second) ORDER BY pg_catalog.min(i))
$$;
CREATE FUNCTION array_except(anycompatiblearray, anycompatiblearray) RETURNS anycompatiblearray
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT x FROM (
      SELECT x, i, false AS in_second FROM pg_catalog.unnest($1) WITH ORDINALITY u(x, i)
      UNION ALL SELECT x, NULL, true FROM pg_catalog.unnest($2) WITH ORDINALITY u(x, i)) v
    GROUP BY x
    HAVING NOT pg_catalog.bool_or(in_second) ORDER BY pg_catalog.min(i))
$$;
CREATE FUNCTION arrays_overlap(anycompatiblearray, anycompatiblearray) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT EXISTS (SELECT pg_catalog.unnest($1) INTERSECT SELECT pg_catalog.unnest($2))
$$;
CREATE FUNCTION array_filter(anyarray, boolean[]) RETURNS anyarray
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT ARRAY(SELECT x FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY u(x, keep, i)
    WHERE keep AND i <= pg_catalog.cardinality($1) ORDER BY i)
$$;
CREATE FUNCTION array_sum(integer[]) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT sum(x) FROM unnest($1) x);
CREATE FUNCTION array_avg(integer[]) RETURNS numeric
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT avg(x) FROM unnest($1) x);
CREATE FUNCTION array_sum(bigint[]) RETURNS numeric
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT sum(x) FROM unnest($1) x);
CREATE FUNCTION array_avg(bigint[]) RETURNS numeric
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT avg(x) FROM unnest($1) x);
CREATE FUNCTION array_sum(numeric[]) RETURNS numeric
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT sum(x) FROM unnest($1) x);
CREATE FUNCTION array_avg(numeric[]) RETURNS numeric
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT avg(x) FROM unnest($1) x);
CREATE FUNCTION array_sum(double precision[]) RETURNS double precision
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT sum(x) FROM unnest($1) x);
CREATE FUNCTION array_avg(double precision[]) RETURNS double precision
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT avg(x) FROM unnest($1) x);
CREATE FUNCTION array_join(anyarray, text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
  SELECT pg_catalog.array_to_string($1, $2)
$$;
CREATE FUNCTION array_join(anyarray, text, text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
  SELECT pg_catalog.array_to_string($1, $2, $3)
$$;

-- Maps are jsonb objects: m['k'] is PostgreSQL's own subscript.
CREATE FUNCTION map(VARIADIC "any") RETURNS jsonb LANGUAGE internal STABLE PARALLEL SAFE AS 'jsonb_build_object';
CREATE FUNCTION map_keys(jsonb) RETURNS text[]
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ARRAY(SELECT jsonb_object_keys($1));
CREATE FUNCTION map_values(jsonb) RETURNS jsonb[]
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ARRAY(SELECT value FROM jsonb_each($1));
CREATE FUNCTION map_size(jsonb) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT count(*) FROM jsonb_object_keys($1));
CREATE FUNCTION map_contains_key(jsonb, text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 ? $2;
CREATE FUNCTION map_contains_value(jsonb, jsonb) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN EXISTS (SELECT FROM jsonb_each($1) WHERE value = $2);

-- Rows from values
CREATE FUNCTION explode(anyarray) RETURNS SETOF anyelement
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT pg_catalog.unnest($1)
$$;
CREATE FUNCTION explode(anyarray, anycompatiblearray) RETURNS TABLE (c1 anyelement, c2 anycompatible)
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT * FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))
$$;
CREATE FUNCTION explode_outer(anyarray) RETURNS SETOF anyelement
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT pg_catalog.unnest($1) UNION ALL SELECT NULL WHERE pg_catalog.cardinality($1) > 0 IS NOT TRUE
$$;
CREATE FUNCTION posexplode(anyarray) RETURNS TABLE (pos integer, col anyelement)
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT i::integer - 1, x FROM pg_catalog.unnest($1) WITH ORDINALITY u(x, i)
$$;
CREATE FUNCTION posexplode_outer(anyarray) RETURNS TABLE (pos integer, col anyelement)
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT i::integer - 1, x FROM pg_catalog.unnest($1) WITH ORDINALITY u(x, i)
  UNION ALL SELECT NULL, NULL WHERE pg_catalog.cardinality($1) > 0 IS NOT TRUE
$$;
CREATE FUNCTION explode_split(text, text) RETURNS SETOF text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT part FROM string_to_table($1, nullif($2, '')) part UNION ALL SELECT '' WHERE $1 = '';
END;
CREATE FUNCTION explode_map(jsonb) RETURNS TABLE (k text, v jsonb) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- A parsed body with an unnamed argument beside named columns is dumped as SQL that does not parse.
AS 'SELECT key, value FROM pg_catalog.jsonb_each($1)';
CREATE FUNCTION explode_bitmap(bitmap) RETURNS SETOF bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT unnest(bitmap_to_array($1));
END;
CREATE FUNCTION explode_numbers(bigint) RETURNS SETOF bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT generate_series(0, $1 - 1);
END;
CREATE FUNCTION explode_json_array_int(jsonb) RETURNS SETOF bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT CASE WHEN jsonb_typeof(e) = 'number' THEN trunc(e::numeric)::bigint END FROM jsonb_array_elements(CASE WHEN jsonb_typeof($1) = 'array' THEN $1 END) e;
END;
CREATE FUNCTION explode_json_array_double(jsonb) RETURNS SETOF double precision LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT CASE WHEN jsonb_typeof(e) = 'number' THEN e::double precision END FROM jsonb_array_elements(CASE WHEN jsonb_typeof($1) = 'array' THEN $1 END) e;
END;
CREATE FUNCTION explode_json_array_string(jsonb) RETURNS SETOF text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT e #>> '{}' FROM jsonb_array_elements(CASE WHEN jsonb_typeof($1) = 'array' THEN $1 END) e;
END;
CREATE FUNCTION explode_json_array_json(jsonb) RETURNS SETOF jsonb LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
  SELECT e FROM jsonb_array_elements(CASE WHEN jsonb_typeof($1) = 'array' THEN $1 END) e;
END;

-- JSON by path. Strict paths: an array is not searched unless the path says so.
CREATE FUNCTION _json_at(jsonb, text) RETURNS jsonb
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN jsonb_path_query_first($1, ('strict ' || $2)::jsonpath, '{}', true);
CREATE FUNCTION json_extract(jsonb, text) RETURNS jsonb
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN _json_at($1, $2);
CREATE FUNCTION json_extract(jsonb, VARIADIC text[]) RETURNS jsonb
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN CASE WHEN pg_catalog.array_position($2, NULL) IS NULL THEN
    (SELECT jsonb_agg(_json_at($1, path) ORDER BY i) FROM unnest($2) WITH ORDINALITY u(path, i)) END;
CREATE FUNCTION get_json_string(jsonb, text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN _json_at($1, $2) #>> '{}';
CREATE FUNCTION get_json_int(jsonb, text) RETURNS integer
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT CASE WHEN jsonb_typeof(v) = 'number' THEN trunc(v::numeric)::integer END FROM _json_at($1, $2) v);
CREATE FUNCTION get_json_bigint(jsonb, text) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT CASE WHEN jsonb_typeof(v) = 'number' THEN trunc(v::numeric)::bigint END FROM _json_at($1, $2) v);
CREATE FUNCTION get_json_double(jsonb, text) RETURNS double precision
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (SELECT CASE WHEN jsonb_typeof(v) = 'number' THEN v::double precision END FROM _json_at($1, $2) v);

-- Dates. Arithmetic by months ends at the month's end.
CREATE FUNCTION date_trunc(timestamp, text) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN pg_catalog.date_trunc($2, $1);
CREATE FUNCTION date_trunc(timestamptz, text) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN pg_catalog.date_trunc($2, $1);
CREATE FUNCTION date_trunc(date, text) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN pg_catalog.date_trunc($2, $1::timestamp)::date;
CREATE FUNCTION date_trunc(text, date) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN pg_catalog.date_trunc($1, $2::timestamp)::date;
CREATE FUNCTION days_add(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 + $2 * interval '1 day')::date;
CREATE FUNCTION days_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 day';
CREATE FUNCTION days_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 day';
CREATE FUNCTION days_sub(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 - $2 * interval '1 day')::date;
CREATE FUNCTION days_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 day';
CREATE FUNCTION days_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 day';
CREATE FUNCTION weeks_add(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 + $2 * interval '7 days')::date;
CREATE FUNCTION weeks_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '7 days';
CREATE FUNCTION weeks_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '7 days';
CREATE FUNCTION weeks_sub(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 - $2 * interval '7 days')::date;
CREATE FUNCTION weeks_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '7 days';
CREATE FUNCTION weeks_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '7 days';
CREATE FUNCTION months_add(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 + $2 * interval '1 month')::date;
CREATE FUNCTION months_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 month';
CREATE FUNCTION months_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 month';
CREATE FUNCTION months_sub(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 - $2 * interval '1 month')::date;
CREATE FUNCTION months_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 month';
CREATE FUNCTION months_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 month';
CREATE FUNCTION quarters_add(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 + $2 * interval '3 months')::date;
CREATE FUNCTION quarters_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '3 months';
CREATE FUNCTION quarters_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '3 months';
CREATE FUNCTION quarters_sub(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 - $2 * interval '3 months')::date;
CREATE FUNCTION quarters_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '3 months';
CREATE FUNCTION quarters_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '3 months';
CREATE FUNCTION years_add(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 + $2 * interval '1 year')::date;
CREATE FUNCTION years_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 year';
CREATE FUNCTION years_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 year';
CREATE FUNCTION years_sub(date, integer) RETURNS date
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN ($1 - $2 * interval '1 year')::date;
CREATE FUNCTION years_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 year';
CREATE FUNCTION years_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 year';
CREATE FUNCTION hours_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 hour';
CREATE FUNCTION hours_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 hour';
CREATE FUNCTION hours_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 hour';
CREATE FUNCTION hours_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 hour';
CREATE FUNCTION minutes_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 minute';
CREATE FUNCTION minutes_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 minute';
CREATE FUNCTION minutes_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 minute';
CREATE FUNCTION minutes_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 minute';
CREATE FUNCTION seconds_add(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 second';
CREATE FUNCTION seconds_add(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 + $2 * interval '1 second';
CREATE FUNCTION seconds_sub(timestamp, integer) RETURNS timestamp
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 second';
CREATE FUNCTION seconds_sub(timestamptz, integer) RETURNS timestamptz
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN $1 - $2 * interval '1 second';
-- Whole units from the first to the second. A month is whole when the day is reached, or the month's end.
CREATE FUNCTION _months_between(timestamp, timestamp) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
  SELECT CASE
      WHEN months > 0 AND $1 + make_interval(months => months) > $2 THEN months - 1
      WHEN months < 0 AND $1 + make_interval(months => months) < $2 THEN months + 1
      ELSE months END
  FROM (SELECT ((extract(year FROM $2) - extract(year FROM $1)) * 12
      + extract(month FROM $2) - extract(month FROM $1))::integer AS months) m
);
CREATE FUNCTION timestampdiff(text, timestamp, timestamp) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE lower($1)
    WHEN 'year' THEN _months_between($2, $3) / 12
    WHEN 'quarter' THEN _months_between($2, $3) / 3
    WHEN 'month' THEN _months_between($2, $3)
    WHEN 'week' THEN trunc(extract(epoch FROM $3 - $2) / 604800)::bigint
    WHEN 'day' THEN trunc(extract(epoch FROM $3 - $2) / 86400)::bigint
    WHEN 'hour' THEN trunc(extract(epoch FROM $3 - $2) / 3600)::bigint
    WHEN 'minute' THEN trunc(extract(epoch FROM $3 - $2) / 60)::bigint
    WHEN 'second' THEN trunc(extract(epoch FROM $3 - $2))::bigint
    WHEN 'microsecond' THEN (extract(epoch FROM $3 - $2) * 1000000)::bigint
    -- Fails with PostgreSQL's error for a unit that is none.
    ELSE extract(epoch FROM pg_catalog.date_trunc($1, $2))::bigint END;
CREATE FUNCTION years_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('year', $2, $1);
CREATE FUNCTION quarters_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('quarter', $2, $1);
CREATE FUNCTION months_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('month', $2, $1);
CREATE FUNCTION weeks_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('week', $2, $1);
CREATE FUNCTION days_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('day', $2, $1);
CREATE FUNCTION hours_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('hour', $2, $1);
CREATE FUNCTION minutes_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('minute', $2, $1);
CREATE FUNCTION seconds_diff(timestamp, timestamp) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN timestampdiff('second', $2, $1);
CREATE FUNCTION datediff(date, date) RETURNS integer
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1 - $2;
CREATE FUNCTION datediff(timestamp, timestamp) RETURNS integer
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1::date - $2::date;
CREATE FUNCTION date_floor(timestamp, interval) RETURNS timestamp LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN extract(day FROM $2) = 0 AND extract(epoch FROM $2 - pg_catalog.date_trunc('month', $2)) = 0
      AND extract(year FROM $2) * 12 + extract(month FROM $2) > 0
    THEN (SELECT timestamp '0001-01-01' + make_interval(months => (months - months % step)::integer)
      FROM (SELECT (extract(year FROM $1) - 1) * 12 + extract(month FROM $1) - 1 AS months,
        extract(year FROM $2) * 12 + extract(month FROM $2) AS step) m)
    -- Fails for an interval that is not positive, or that mixes months and days.
    ELSE date_bin($2, $1, timestamp '0001-01-01') END;
CREATE FUNCTION date_ceil(timestamp, interval) RETURNS timestamp LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN date_floor($1, $2) = $1 THEN $1 ELSE date_floor($1, $2) + $2 END;
CREATE FUNCTION date_format(timestamp, text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_date_format';
CREATE FUNCTION str_to_date(text, text) RETURNS timestamp
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_str_to_date';
CREATE FUNCTION _unix_seconds(bigint) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_unix_seconds';
CREATE FUNCTION from_unixtime(bigint, text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN date_format(to_timestamp(_unix_seconds($1))::timestamp, $2);
CREATE FUNCTION from_unixtime(bigint) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN from_unixtime($1, '%Y-%m-%d %H:%i:%s');
CREATE FUNCTION unix_timestamp() RETURNS bigint
  LANGUAGE sql STABLE PARALLEL SAFE RETURN floor(extract(epoch FROM now()))::bigint;
CREATE FUNCTION unix_timestamp(timestamptz) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN floor(extract(epoch FROM $1))::bigint;
CREATE FUNCTION unix_timestamp(text, text) RETURNS bigint
  LANGUAGE sql STABLE STRICT PARALLEL SAFE RETURN unix_timestamp(str_to_date($1, $2)::timestamptz);

-- Addresses
CREATE FUNCTION inet_aton(text) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ipv4_or_null';
CREATE FUNCTION ipv4_string_to_num(text) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ipv4_string_to_num';
CREATE FUNCTION ipv4_string_to_num_or_null(text) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ipv4_or_null';
CREATE FUNCTION ipv4_string_to_num_or_default(text) RETURNS bigint
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ipv4_or_default';
CREATE FUNCTION ipv4_num_to_string(bigint) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ipv4_num_to_string';
CREATE FUNCTION inet_ntoa(bigint) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ipv4_num_to_string';
CREATE FUNCTION _ipv4_cidr_edge(text, integer, integer) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_ipv4_cidr_edge';
CREATE FUNCTION ipv4_cidr_to_range(text, integer, OUT min inet, OUT max inet) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS 'SELECT doris._ipv4_cidr_edge($1, $2, 0)::pg_catalog.inet, doris._ipv4_cidr_edge($1, $2, 1)::pg_catalog.inet';
CREATE FUNCTION is_ip_address_in_range(text, text) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_is_ip_address_in_range';

-- Distances, computed in double precision.
CREATE FUNCTION _l1_distance(double precision[], double precision[]) RETURNS double precision
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_l1_distance';
CREATE FUNCTION l1_distance(double precision[], double precision[]) RETURNS real
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN _l1_distance($1, $2)::real;
CREATE FUNCTION _l2_distance(double precision[], double precision[]) RETURNS double precision
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_l2_distance';
CREATE FUNCTION l2_distance(double precision[], double precision[]) RETURNS real
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN _l2_distance($1, $2)::real;
CREATE FUNCTION _inner_product(double precision[], double precision[]) RETURNS double precision
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_inner_product';
CREATE FUNCTION inner_product(double precision[], double precision[]) RETURNS real
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN _inner_product($1, $2)::real;
CREATE FUNCTION _cosine_distance(double precision[], double precision[]) RETURNS double precision
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'doris_cosine_distance';
CREATE FUNCTION cosine_distance(double precision[], double precision[]) RETURNS real
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN _cosine_distance($1, $2)::real;
