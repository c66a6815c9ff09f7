//! How long users would have waited, had nobody left: the estimate against what the world knows.
//!
//! In the outage of one country many leave, and whoever leaves is not there to see the answer. The
//! world lets every request that was given up finish on its server, so that the truth has its time.
//!
//! The estimate takes those who left to be no different from those who stayed. Within a country
//! that holds in this world: patience is drawn there by itself, whatever the network does. Over
//! countries it need not, since patience and network both differ; so the strata are asked, and the
//! whole beside them.

use std::collections::HashMap;

use crate::world::{World, number, seeds, word};

/// So many answers must have come at or after a quantile for it to be known from them: fewer leave
/// it to chance.
const BEYOND_MIN: f64 = 20.0;

const TOLERANCE: f64 = 0.05;

/// With so many there is no room for chance: what is further off than the tolerance is wrong.
const BEYOND_MANY: f64 = 50.0;

/// Standard errors of what is estimated from fewer: of two hundred strata, ten are further off by chance
/// than two, and one in a few worlds than this.
const ERRORS_MAX: f64 = 3.0;

const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// By stratum: what is estimated, what those say who finished, what nobody can doubt, and how many
/// answers came later than the estimate.
fn statement(strata: &str, quantile: f64) -> String {
    format!(
        "SELECT {strata} AS stratum, hdr_quantile(c, {quantile}) AS estimate, \
         hdr_quantile(c['finished'], {quantile}) AS naive, hdr_quantile(w, {quantile}) AS at_least, \
         hdr_is_bound(c, {quantile}) AS is_bound, hdr_quantile_bound(c, {quantile}) AS bound, \
         CAST(hdr_count(c['finished']) AS DOUBLE) \
           * (1 - hdr_fraction_below(c['finished'], hdr_quantile(c, {quantile}))) AS beyond \
         FROM (SELECT region, route, hdr_censored(waited_us, outcome IN ('ok', 'failed')) AS c, \
               hdr(waited_us) AS w FROM (SELECT {{}} waited_us, outcome FROM requests \
               WHERE layer = 'browser') AS asked GROUP BY region, route) AS strata"
    )
}

/// The columns of each kind of stratum, as the statement names them.
const STRATA: [(&str, &str); 3] = [
    ("all", "'' AS region, '' AS route,"),
    ("region", "region, '' AS route,"),
    ("region and route", "region, route,"),
];

#[test]
fn who_left_is_not_missing() {
    for seed in seeds() {
        let options = ["--duration", "120s", "--rate", "4", "--pages-only"];
        let world = World::new("region-outage", seed, &options, &[]);
        let times = true_times(&world);
        let mut told = Vec::new();
        for (kind, columns) in STRATA {
            for quantile in QUANTILES {
                let sql = statement("concat(region, ' ', route)", quantile).replace("{}", columns);
                for row in world.ethogram.sql(&sql) {
                    let stratum = word(&row, "stratum").trim().to_owned();
                    let answers = &times[&(kind, stratum.clone())];
                    told.push(Told::new(kind, stratum, quantile, &row, answers));
                }
            }
        }
        judge(&told);
    }
}

/// One quantile of one stratum.
#[derive(Debug)]
struct Told {
    kind: &'static str,
    stratum: String,
    quantile: f64,
    truth_us: f64,
    estimate_us: Option<f64>,
    naive_us: f64,
    at_least_us: f64,
    is_bound: bool,
    bound_us: f64,
    beyond: f64,
    /// The true times of the ranks that chance may have taken for this one.
    chance_us: [f64; 2],
}

impl Told {
    fn new(
        kind: &'static str,
        stratum: String,
        quantile: f64,
        row: &serde_json::Value,
        answers: &[i64],
    ) -> Self {
        let count = answers.len() as f64;
        let rank = (quantile * count).ceil().max(1.0) as usize;
        let beyond = row["beyond"].as_f64().unwrap_or(0.0);
        // How many are later is known from those alone who have seen it.
        let error = ERRORS_MAX * count * (1.0 - quantile) / beyond.max(1.0).sqrt();
        let at_rank = |rank: f64| answers[(rank.clamp(1.0, count) as usize) - 1] as f64;
        Self {
            chance_us: [at_rank(rank as f64 - error), at_rank(rank as f64 + error)],
            kind,
            stratum,
            quantile,
            truth_us: answers[rank - 1] as f64,
            estimate_us: row["estimate"].as_f64(),
            naive_us: row["naive"].as_f64().unwrap_or(0.0),
            at_least_us: number(row, "at_least") as f64,
            is_bound: row["is_bound"] == true,
            bound_us: number(row, "bound") as f64,
            beyond,
        }
    }

    /// The estimate, where enough is known for one.
    fn identified_us(&self) -> Option<f64> {
        self.estimate_us.filter(|_| self.beyond >= BEYOND_MIN)
    }

    fn is(&self, kind: &str, stratum: &str, quantile: f64) -> bool {
        self.kind == kind && self.stratum == stratum && self.quantile == quantile
    }

    fn off(&self, us: f64) -> f64 {
        (us / self.truth_us - 1.0).abs()
    }
}

/// Every estimate is near the truth; where there is none, the bound holds; and whoever asks only those
/// who finished is told something wrong.
fn judge(told: &[Told]) {
    let mut wrong = Vec::new();
    for one in told {
        let is_large = one.kind == "all" || one.beyond >= BEYOND_MANY;
        let by_chance = |us| !is_large && (one.chance_us[0]..=one.chance_us[1]).contains(&us);
        if one.identified_us().is_some_and(|us| one.off(us) > TOLERANCE && !by_chance(us)) {
            wrong.push(format!("estimated wrongly: {one:?}"));
        }
        // Three digits: a bucket's middle is within a thousandth of what is in it.
        if one.at_least_us > one.truth_us * 1.001 {
            wrong.push(format!("not a bound: {one:?}"));
        }
        // What the product says itself: an estimate, or a bound that holds, never both.
        if one.is_bound != one.estimate_us.is_none()
            || (one.is_bound && one.bound_us > one.truth_us * 1.001)
        {
            wrong.push(format!("not the bound that it is said to be: {one:?}"));
        }
    }
    for (kind, stratum) in [("all", ""), ("region", "DE")] {
        for quantile in [0.5, 0.99] {
            let one = told.iter().find(|one| one.is(kind, stratum, quantile));
            let one = one.unwrap_or_else(|| panic!("no row of {kind} {stratum}"));
            if one.identified_us().is_none() {
                wrong.push(format!("not identified: {one:?}"));
            }
            if quantile == 0.99 && one.off(one.naive_us) < 2.0 * TOLERANCE {
                wrong.push(format!("the naive figure would do: {one:?}"));
            }
        }
    }
    let strata = |identified: bool| {
        let of_routes = told.iter().filter(|one| one.kind == "region and route");
        of_routes.filter(|one| one.identified_us().is_some() == identified).count()
    };
    assert!(strata(true) > 20 && strata(false) > 20, "too little of either: {told:#?}");
    let shown =
        told.iter().filter(|one| one.kind != "region and route" || one.stratum.starts_with("DE"));
    let shown: Vec<String> = shown.map(|one| format!("{one:?}")).collect();
    println!("{}", shown.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The time of every request's answer, whether somebody waited for it or not, sorted, by stratum.
fn true_times(world: &World) -> HashMap<(&'static str, String), Vec<i64>> {
    let mut full: HashMap<&str, (&str, &str, i64)> = HashMap::new();
    // What a request would have had is told after what became of it, and replaces that.
    for request in world.details("request") {
        let place = (word(request, "region"), word(request, "route"));
        let time_us = number(request, "total_us");
        full.insert(word(request, "trace_id"), (place.0, place.1, time_us));
    }
    let mut times: HashMap<(&'static str, String), Vec<i64>> = HashMap::new();
    for (region, route, time_us) in full.into_values() {
        for (kind, stratum) in [
            ("all", String::new()),
            ("region", region.to_owned()),
            ("region and route", format!("{region} {route}")),
        ] {
            times.entry((kind, stratum)).or_default().push(time_us);
        }
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}
