"""The SQL of the demo, as a user would type it."""

from collections.abc import Mapping
from types import MappingProxyType

REFERENCE = "SELECT * FROM read_csv($path, all_varchar => true)"

SILVER_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "month": "DATE NOT NULL",
        "day": "DATE NOT NULL",
        "scheduled": "TIMESTAMPTZ NOT NULL",
        "dep_delay": "INTEGER",
        "arr_delay": "INTEGER",
        "carrier": "VARCHAR NOT NULL",
        "airline": "VARCHAR NOT NULL",
        "flight": "INTEGER NOT NULL",
        "origin": "VARCHAR NOT NULL",
        "dest": "VARCHAR NOT NULL",
        "airport": "VARCHAR",
        "maker": "VARCHAR",
        "seats": "INTEGER",
        "wind": "DOUBLE",
        "visibility": "DOUBLE",
    }
)

SILVER = """\
WITH flights AS (
  SELECT DISTINCT *,                     -- June 29 and 30 came twice
    make_date(year::INT, month::INT, day::INT) AS date,
    coalesce(time_hour::TIMESTAMPTZ, make_timestamptz(year::INT, month::INT,
      day::INT, hour::INT, 0, 0, 'America/New_York')) AS hour_utc
  FROM bronze.flights)
SELECT date_trunc('month', date)::DATE AS month, date AS day,
  hour_utc + to_minutes(minute::INT) AS scheduled,
  nullif(dep_delay, 'NA')::INT AS dep_delay,
  nullif(arr_delay, 'NA')::INT AS arr_delay,
  carrier, airlines.name AS airline, flight::INT AS flight,
  flights.origin, dest, airports.name AS airport,
  manufacturer AS maker, seats::INT AS seats,
  nullif(wind_speed, 'NA')::DOUBLE AS wind, visib::DOUBLE AS visibility
FROM flights
LEFT JOIN bronze.airlines USING (carrier)
LEFT JOIN bronze.airports ON faa = dest
LEFT JOIN bronze.planes USING (tailnum)
LEFT JOIN bronze.weather ON weather.origin = flights.origin
  AND weather.time_hour::TIMESTAMPTZ = hour_utc
ORDER BY scheduled"""

_MEASURES = """\
  count(*) AS flights,
  count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled,
  avg(arr_delay) AS arr_delay,
  100 * avg((arr_delay >= 15)::INT) AS late_percent"""

GOLD: Mapping[str, str] = MappingProxyType(
    {
        "gold.delays_by_carrier": f"SELECT carrier, airline,\n{_MEASURES}\n"
        "FROM silver.flights GROUP BY ALL ORDER BY carrier",
        "gold.delays_by_airport": f"SELECT dest, airport,\n{_MEASURES}\n"
        "FROM silver.flights GROUP BY ALL ORDER BY dest",
        "gold.delays_by_day": f"SELECT day, avg(visibility) AS visibility,\n{_MEASURES}\n"
        "FROM silver.flights GROUP BY ALL ORDER BY day",
    }
)

CARRIERS = """\
SELECT airline, flights, arr_delay, late_percent AS "late %"
FROM gold.delays_by_carrier ORDER BY late_percent DESC"""

WEEKS = """\
SELECT date_trunc('week', day)::DATE AS week, avg(late_percent) AS late
FROM gold.delays_by_day GROUP BY week ORDER BY week"""

WORST_DAYS = """\
SELECT day, flights, cancelled, arr_delay, visibility
FROM gold.delays_by_day ORDER BY arr_delay DESC LIMIT 3"""

CHRISTMAS = """\
SELECT airline, count(*) AS flights, avg(arr_delay) AS arr_delay
FROM silver.flights
WHERE day = '2013-12-24'
GROUP BY airline ORDER BY arr_delay DESC LIMIT 3"""

# Three predicates, and what each can skip: by partition, by bounds, not at all.
SKIPPING: Mapping[str, str] = MappingProxyType(
    {
        "month = '2013-07-01'": "SELECT avg(arr_delay) FROM silver.flights "
        "WHERE month = '2013-07-01'",
        "day = '2013-12-24'": CHRISTMAS,
        "carrier = 'HA'": "SELECT avg(arr_delay) FROM silver.flights WHERE carrier = 'HA'",
    }
)

DELIVERED = "SELECT count(*) FROM bronze.flights"
AT_VERSION = "AT (VERSION => 3)"
AT_TIMESTAMP = "AT (TIMESTAMP => '{}')"
MISTAKE = "carrier = 'UA'"

TABLES = (
    "bronze.flights",
    "bronze.airlines",
    "bronze.airports",
    "bronze.planes",
    "bronze.weather",
    "silver.flights",
    *GOLD,
)
