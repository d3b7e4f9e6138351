#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TPC-H's 22, SSB's 13 and ClickBench's 43 queries must run natively from the top, and answer as PostgreSQL does.

usage: native.py [--benchmarks tpch,ssb,clickbench] [--print]

Needs a running server (PGHOST, PGPORT, PGUSER from `scripts/server.sh env`) with pg_doris installed. The data is small
and made up here. A query runs natively when EXPLAIN (ANALYZE, VERBOSE) shows custom scans only, without expressions
marked `postgres`, and PostgreSQL's plan did not run instead. Only rows of a common table expression that is read twice
are kept by PostgreSQL. `--print` shows the plans.
"""
import argparse
import pathlib
import re
import subprocess
import sys

import plans

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
ALL = {"tpch": 22, "ssb": 13, "clickbench": 43}
# A number that looks random, of row g and a salt.
MACROS = """
CREATE OR REPLACE FUNCTION {s}.h(g bigint, salt int, below int) RETURNS int IMMUTABLE LANGUAGE sql AS
  'SELECT ((hashint8(g * 1000 + salt)::bigint & 2147483647) % below)::int';
CREATE OR REPLACE FUNCTION {s}.one(g bigint, salt int, words text[]) RETURNS text IMMUTABLE LANGUAGE sql AS
  'SELECT words[1 + {s}.h(g, salt, cardinality(words))]';
"""
NATIONS = ("ALGERIA ARGENTINA BRAZIL CANADA EGYPT ETHIOPIA FRANCE GERMANY INDIA INDONESIA IRAN IRAQ JAPAN JORDAN KENYA MOROCCO "
           "MOZAMBIQUE PERU CHINA ROMANIA SAUDI_ARABIA VIETNAM RUSSIA UNITED_KINGDOM UNITED_STATES").split()
REGION_OF = [0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1]
REGIONS = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"]


def words(text):
    return "ARRAY[" + ", ".join(f"'{word.replace('_', ' ')}'" for word in text.split()) + "]"


COLORS = words("almond azure blue chocolate forest green ivory lemon pink red")
CONTAINERS = words("SM_CASE SM_BOX SM_PACK SM_PKG MED_BAG MED_BOX MED_PKG MED_PACK LG_CASE LG_BOX LG_PACK LG_PKG JUMBO_PKG WRAP_CASE")
TYPES = "one(g, 3, " + words("STANDARD SMALL MEDIUM LARGE ECONOMY PROMO") + ") || ' ' || one(g, 4, " + words("ANODIZED BURNISHED PLATED POLISHED BRUSHED") + ") || ' ' || one(g, 5, " + words("TIN NICKEL BRASS STEEL COPPER") + ")"


def tpch(times=1):
    """Statements that fill TPC-H's tables with `times` 24,000 lines, which is `times` 0.004 of scale factor 1."""
    suppliers, customers, parts, orders = 100 * times, 1500 * times, 2000 * times, 6000 * times
    supplier_of_part = f"1 + ({{part}} + {{place}} * {suppliers // 4}) % {suppliers}"
    return f"""
INSERT INTO region SELECT g, (ARRAY{REGIONS})[1 + g], 'the comment of it' FROM generate_series(0, 4) g;
INSERT INTO nation SELECT g, replace((ARRAY{NATIONS})[1 + g], '_', ' '), (ARRAY{REGION_OF})[1 + g], 'a comment' FROM generate_series(0, 24) g;
INSERT INTO supplier SELECT g, 'Supplier#' || lpad(g::text, 9, '0'), 'address ' || g, h(g, 1, 25), 10 + h(g, 1, 25) || '-' || 100 + h(g, 2, 900), h(g, 3, 1100000) / 100.0 - 1000,
  CASE WHEN g % 9 = 0 THEN 'wake Customer slow Complaints' ELSE 'quick and quiet' END FROM generate_series(1, {suppliers}) g;
INSERT INTO customer SELECT g, 'Customer#' || lpad(g::text, 9, '0'), 'address ' || g, h(g, 1, 25), 10 + h(g, 1, 25) || '-' || 100 + h(g, 2, 900), h(g, 3, 1100000) / 100.0 - 1000,
  one(g, 4, {words("AUTOMOBILE BUILDING FURNITURE MACHINERY HOUSEHOLD")}), 'comment ' || h(g, 5, 50) FROM generate_series(1, {customers}) g;
INSERT INTO part SELECT g, one(g, 1, {COLORS}) || ' ' || one(g, 2, {COLORS}), 'Manufacturer#' || 1 + h(g, 6, 5), 'Brand#' || 1 + h(g, 6, 5) || 1 + h(g, 7, 5),
  {TYPES}, 1 + h(g, 8, 50), one(g, 9, {CONTAINERS}), 900 + h(g, 10, 120000) / 100.0, 'comment' FROM generate_series(1, {parts}) g;
INSERT INTO partsupp SELECT 1 + g / 4, {supplier_of_part.format(part="g / 4", place="g % 4")}, 1 + h(g, 1, 9999), 1 + h(g, 2, 99900) / 100.0, 'comment' FROM generate_series(0, {4 * parts - 1}) g;
INSERT INTO orders SELECT g, 1 + h(g, 1, {customers}) / 3 * 3, one(g, 2, {words("F O P")}), 900 + h(g, 3, 50000000) / 100.0, date '1992-01-01' + h(g, 4, 2405), one(g, 5, {words("1-URGENT 2-HIGH 3-MEDIUM 4-NOT_SPECIFIED 5-LOW")}),
  'Clerk#' || h(g, 6, 1000), 0, CASE WHEN g % 13 = 0 THEN 'some special and odd requests' ELSE 'plain deposits' END FROM generate_series(1, {orders}) g;
INSERT INTO lineitem SELECT 1 + g / 4, 1 + h(g, 1, {parts}), {supplier_of_part.format(part=f"h(g, 1, {parts})", place="h(g, 2, 4)")}, 1 + g % 4, 1 + h(g, 3, 50) + CASE WHEN g / 4 % 50 = 0 THEN 60 ELSE 0 END, 900 + h(g, 4, 9000000) / 100.0, h(g, 5, 11) / 100.0, h(g, 6, 9) / 100.0,
  one(g, 7, {words("A N R")}), one(g, 8, {words("F O")}), o_orderdate + 1 + h(g, 9, 121), o_orderdate + 30 + h(g, 10, 61), o_orderdate + 2 + h(g, 9, 121) + h(g, 11, 30),
  one(g, 12, {words("DELIVER_IN_PERSON COLLECT_COD NONE TAKE_BACK_RETURN")}), one(g, 13, {words("REG_AIR AIR RAIL SHIP TRUCK MAIL FOB")}), 'comment'
  FROM generate_series(0, {4 * orders - 1}) g JOIN orders ON o_orderkey = 1 + g / 4;
"""


SSB = f"""
CREATE TABLE dates (d_datekey int NOT NULL, d_date varchar(18) NOT NULL, d_dayofweek varchar(9) NOT NULL, d_month varchar(9) NOT NULL, d_year int NOT NULL,
  d_yearmonthnum int NOT NULL, d_yearmonth char(7) NOT NULL, d_daynuminweek int NOT NULL, d_daynuminmonth int NOT NULL, d_daynuminyear int NOT NULL,
  d_monthnuminyear int NOT NULL, d_weeknuminyear int NOT NULL, d_sellingseason varchar(12) NOT NULL, d_lastdayinweekfl char(1) NOT NULL,
  d_lastdayinmonthfl char(1) NOT NULL, d_holidayfl char(1) NOT NULL, d_weekdayfl char(1) NOT NULL);
CREATE TABLE customer (c_custkey int NOT NULL, c_name varchar(25) NOT NULL, c_address varchar(25) NOT NULL, c_city char(10) NOT NULL, c_nation varchar(15) NOT NULL,
  c_region varchar(12) NOT NULL, c_phone char(15) NOT NULL, c_mktsegment char(10) NOT NULL);
CREATE TABLE supplier (s_suppkey int NOT NULL, s_name char(25) NOT NULL, s_address varchar(25) NOT NULL, s_city char(10) NOT NULL, s_nation varchar(15) NOT NULL,
  s_region varchar(12) NOT NULL, s_phone char(15) NOT NULL);
CREATE TABLE part (p_partkey int NOT NULL, p_name varchar(22) NOT NULL, p_mfgr char(6) NOT NULL, p_category char(7) NOT NULL, p_brand1 char(9) NOT NULL,
  p_color varchar(11) NOT NULL, p_type varchar(25) NOT NULL, p_size int NOT NULL, p_container char(10) NOT NULL);
CREATE TABLE lineorder (lo_orderkey bigint NOT NULL, lo_linenumber int NOT NULL, lo_custkey int NOT NULL, lo_partkey int NOT NULL, lo_suppkey int NOT NULL,
  lo_orderdate int NOT NULL, lo_orderpriority char(15) NOT NULL, lo_shippriority char(1) NOT NULL, lo_quantity int NOT NULL, lo_extendedprice int NOT NULL,
  lo_ordtotalprice int NOT NULL, lo_discount int NOT NULL, lo_revenue int NOT NULL, lo_supplycost int NOT NULL, lo_tax int NOT NULL, lo_commitdate int NOT NULL,
  lo_shipmode char(10) NOT NULL);
INSERT INTO dates SELECT to_char(d, 'YYYYMMDD')::int, to_char(d, 'FMMonth DD, YYYY'), to_char(d, 'FMDay'), to_char(d, 'FMMonth'), to_char(d, 'YYYY')::int, to_char(d, 'YYYYMM')::int,
  to_char(d, 'MonYYYY'), to_char(d, 'D')::int, to_char(d, 'DD')::int, to_char(d, 'DDD')::int, to_char(d, 'MM')::int, to_char(d, 'WW')::int, 'Winter', '0', '0', '0', '1'
  FROM generate_series(timestamp '1992-01-01', '1998-12-31', '1 day') d;
CREATE TEMP TABLE places AS SELECT g, replace((ARRAY{NATIONS})[1 + h(g, 1, 25)], '_', ' ') AS nation, (ARRAY{REGIONS})[1 + (ARRAY{REGION_OF})[1 + h(g, 1, 25)]] AS region FROM generate_series(1, 3000) g;
INSERT INTO customer SELECT g, 'Customer#' || g, 'address', rpad(left(nation, 9), 9) || h(g, 2, 10), nation, region, '10-' || g, 'BUILDING' FROM places;
INSERT INTO supplier SELECT g, 'Supplier#' || g, 'address', rpad(left(nation, 9), 9) || h(g, 2, 10), nation, region, '10-' || g FROM places WHERE g <= 400;
INSERT INTO part SELECT g, one(g, 1, {COLORS}), 'MFGR#' || m, 'MFGR#' || m || c, 'MFGR#' || m || c || 1 + h(g, 5, 40), one(g, 2, {COLORS}), {TYPES}, 1 + h(g, 6, 50), one(g, 7, {CONTAINERS})
  FROM (SELECT g, 1 + h(g, 3, 5) AS m, 1 + h(g, 4, 5) AS c FROM generate_series(1, 2000) g) x;
INSERT INTO lineorder SELECT 1 + g / 4, 1 + g % 4, 1 + h(g, 1, 3000), 1 + h(g, 2, 2000), 1 + h(g, 3, 400), to_char(d, 'YYYYMMDD')::int, '1-URGENT', '0', 1 + h(g, 5, 50), 90000 + h(g, 6, 9000000),
  1000, h(g, 7, 11), 90000 + h(g, 6, 9000000), 50000 + h(g, 9, 60000), h(g, 10, 9), to_char(d + 40, 'YYYYMMDD')::int, 'AIR'
  FROM (SELECT g, date '1992-01-01' + h(g / 4, 4, 2405) AS d FROM generate_series(0, 39999) g) x;
"""
SSB_FLIGHTS = """
SELECT sum(lo_extendedprice * lo_discount) AS revenue FROM lineorder, dates WHERE lo_orderdate = d_datekey AND {one}
SELECT sum(lo_revenue), d_year, p_brand1 FROM lineorder, dates, part, supplier
  WHERE lo_orderdate = d_datekey AND lo_partkey = p_partkey AND lo_suppkey = s_suppkey AND {two} GROUP BY d_year, p_brand1 ORDER BY d_year, p_brand1
SELECT {place}, d_year, sum(lo_revenue) AS revenue FROM customer, lineorder, supplier, dates
  WHERE lo_custkey = c_custkey AND lo_suppkey = s_suppkey AND lo_orderdate = d_datekey AND {three} GROUP BY {place}, d_year ORDER BY d_year ASC, revenue DESC
SELECT {group}, sum(lo_revenue - lo_supplycost) AS profit FROM dates, customer, supplier, part, lineorder
  WHERE lo_custkey = c_custkey AND lo_suppkey = s_suppkey AND lo_partkey = p_partkey AND lo_orderdate = d_datekey AND {four} GROUP BY {group} ORDER BY {group}
"""


def ssb_queries():
    """The four flights of the star schema benchmark, with the filters of each of their queries."""
    first, second, third, fourth = re.split(r"\n(?=SELECT)", SSB_FLIGHTS.strip())
    found = [first.format(one=text) for text in (
        "d_year = 1993 AND lo_discount BETWEEN 1 AND 3 AND lo_quantity < 25",
        "d_yearmonthnum = 199401 AND lo_discount BETWEEN 4 AND 6 AND lo_quantity BETWEEN 26 AND 35",
        "d_weeknuminyear = 6 AND d_year = 1994 AND lo_discount BETWEEN 5 AND 7 AND lo_quantity BETWEEN 26 AND 35")]
    found += [second.format(two=text) for text in (
        "p_category = 'MFGR#12' AND s_region = 'AMERICA'",
        "p_brand1 BETWEEN 'MFGR#2221' AND 'MFGR#2228' AND s_region = 'ASIA'",
        "p_brand1 = 'MFGR#2239' AND s_region = 'EUROPE'")]
    cities = "(c_city = 'UNITED KI1' OR c_city = 'UNITED KI5') AND (s_city = 'UNITED KI1' OR s_city = 'UNITED KI5')"
    found += [third.format(place=place, three=text) for place, text in (
        ("c_nation, s_nation", "c_region = 'ASIA' AND s_region = 'ASIA' AND d_year >= 1992 AND d_year <= 1997"),
        ("c_city, s_city", "c_nation = 'UNITED STATES' AND s_nation = 'UNITED STATES' AND d_year >= 1992 AND d_year <= 1997"),
        ("c_city, s_city", f"{cities} AND d_year >= 1992 AND d_year <= 1997"),
        ("c_city, s_city", f"{cities} AND d_yearmonth = 'Dec1997'"))]
    america = "c_region = 'AMERICA' AND s_region = 'AMERICA'"
    found += [fourth.format(group=group, four=text) for group, text in (
        ("d_year, c_nation", f"{america} AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2')"),
        ("d_year, s_nation, p_category", f"{america} AND (d_year = 1997 OR d_year = 1998) AND (p_mfgr = 'MFGR#1' OR p_mfgr = 'MFGR#2')"),
        ("d_year, s_city, p_brand1", "c_region = 'AMERICA' AND s_nation = 'UNITED STATES' AND (d_year = 1997 OR d_year = 1998) AND p_category = 'MFGR#14'"))]
    return found


def hits():
    """The table of ClickBench, with few rows."""
    columns = [line.split(" ", 2)[:2] for line in (BENCH / "clickbench/columns.txt").read_text().splitlines() if not line.startswith("#")]
    values = []
    for at, (name, kind) in enumerate(columns):
        few = {"CounterID": "CASE WHEN g % 3 = 0 THEN 62 ELSE h(g, 7, 900) END", "AdvEngineID": "CASE WHEN g % 5 = 0 THEN h(g, 8, 30) ELSE 0 END",
               "UserID": "CASE WHEN g % 97 = 0 THEN 435090932899640449 ELSE h(g / 6, 9, 4000) END", "DontCountHits": "0", "IsRefresh": "h(g, 1, 2)"}
        text = f"CASE WHEN g % 7 = 0 THEN '' WHEN g % 11 = 0 THEN 'http://www.google.com/search?q=' || h(g, {at}, 90) ELSE 'http://site' || h(g, {at}, 50) || '.org/page/' || h(g, 5, 400) END"
        by_type = {"text": text, "timestamp": "timestamp '2013-07-01' + h(g, 1, 2592000) * interval '1 second'", "date": "date '2013-07-01' + h(g, 1, 2592000) / 86400",
                   "char(1)": "chr(65 + h(g, 3, 20))"}
        values.append(few.get(name) or by_type.get(kind) or f"h(g, {at}, {pick_range(at)})")
    fields = ", ".join(f"{name} {kind} NOT NULL" for name, kind in columns)
    return f"CREATE TABLE hits ({fields}); INSERT INTO hits SELECT {', '.join(values)} FROM generate_series(1, 20000) g;"


def pick_range(at):
    return (2, 50, 1000, 30000)[at % 4]


def statements(text):
    return [part.strip() for part in re.sub(r"--.*", "", text).split(";") if part.strip()]


def benchmark(name):
    """The statements that make the tables, and the queries."""
    if name == "tpch":
        schema = (BENCH / "tpch/schema.sql").read_text().replace("USING :am", "")
        queries = [statements((BENCH / f"tpch/q{number:02}.sql").read_text()) for number in range(1, 23)]
        assert all(len(parts) == 1 for parts in queries)
        return schema + tpch(), [parts[0] for parts in queries]
    if name == "ssb":
        return SSB, ssb_queries()
    return hits(), statements((BENCH / "clickbench/queries.sql").read_text())


def psql(text):
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-d", "postgres"], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout


def is_native(ran):
    """Whether custom scans did all, but for keeping the rows of common table expressions."""
    nodes = [line for line in ran.lines if re.match(r" *->", line)]
    others = [line for line in nodes if not re.match(r" *->  (Custom Scan \(DorisVectorized\)|CTE Scan on)", line)]
    kept = any("CTE Scan" in line for line in nodes)
    return ran.native or (kept and ran.whole and not others and not plans.by_postgres(ran.lines))


def run(name, show):
    """Whether all queries of a benchmark are native and right."""
    schema, (tables, queries) = f"native_{name}", benchmark(name)
    assert len(queries) == ALL[name]
    within = f"SET search_path = {schema}; SET extra_float_digits = 1;"
    made = psql(f"SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_doris; DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};"
                f"{within} SET default_table_access_method = doris; SET doris.rows_to_heap = 0;{MACROS.format(s=schema)}{tables}\nANALYZE;")
    problems = [line for line in made.splitlines() if "ERROR" in line]
    if problems:
        sys.exit(f"not ok - {name}: " + "; ".join(problems))
    good, filled = True, 0
    for number, (query, ran) in enumerate(zip(queries, plans.explained(queries, psql, within)), 1):
        answers = [sorted(psql(f"{within} SET doris.enable_vectorization = {mode}; {query};").splitlines()) for mode in ("off", "on")]
        filled += bool(answers[0])
        if show:
            print(psql(f"{within} EXPLAIN (VERBOSE, COSTS OFF) {query};"))
        if not is_native(ran):
            good = False
            print(f"{name} {number} is not native: {'; '.join(ran.reasons)}\n{psql(f'{within} EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) {query};')}")
        # Rows that are equal in what they are sorted by may be cut off by a limit in any order.
        if answers[0] != answers[1] and not ("LIMIT" in query.upper() and len(answers[0]) == len(answers[1])):
            good = False
            print(f"{name} {number} differs: PostgreSQL {answers[0][:3]} of {len(answers[0])}, engine {answers[1][:3]} of {len(answers[1])}")
        if any("ERROR" in line for line in answers[0]):
            good = False
            print(f"{name} {number} fails: {answers[0]}")
    print(f"{'ok' if good else 'not ok'} - {name}: {len(queries)} queries are native and right ({filled} have rows)", flush=True)
    psql(f"SET client_min_messages = warning; DROP SCHEMA {schema} CASCADE;")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--benchmarks", default=",".join(ALL))
    parser.add_argument("--print", action="store_true")
    args = parser.parse_args()
    outcomes = [run(name, args.print) for name in args.benchmarks.split(",")]
    sys.exit(0 if all(outcomes) else 1)


if __name__ == "__main__":
    main()
