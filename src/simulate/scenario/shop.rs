//! The shop: a gateway, three services, their databases; and the scenarios played in it.
//!
//! Capacities are chosen for the demo's six sessions a second: every pool is below half of its
//! capacity when all is well, and payment falls far above it when its work takes 15 times as long.

use super::super::random::Distribution::{self, Between, HeavyTail, LogNormal};
use super::{
    BrowserPolicy, Call, Disturbance, Effect, Observer, Place, Route, Scenario, Service,
    ServiceKind, Step, Transport, people,
};

pub(crate) const CATALOG: usize = 1;
pub(crate) const CART: usize = 2;
const PAYMENT: usize = 3;
pub(super) const SHOP_DATABASE: usize = 4;
const CACHE: usize = 5;
const LEDGER: usize = 6;

/// How eagerly the gateway calls payment, the one thing in which the scenarios' fleets differ.
#[derive(Clone, Copy)]
struct Eagerness {
    attempts_max: u32,
    timeout_ms: u64,
    back_off: Distribution,
}

/// The default: a lively shop with a storm every two minutes.
pub(super) fn demo() -> Scenario {
    let eager = Eagerness { attempts_max: 3, timeout_ms: 1200, back_off: Between(20.0, 80.0) };
    let slow = Effect::Slow { service: PAYMENT, factor: 15.0 };
    let lossy = Effect::Lose { region: people::SOUTH_AFRICA, share: 0.15 };
    world(
        "demo",
        eager,
        vec![
            Disturbance { effect: slow, first_s: 12, lasts_s: 25, every_s: Some(120) },
            Disturbance { effect: lossy, first_s: 60, lasts_s: 20, every_s: Some(180) },
        ],
    )
}

/// Nothing goes wrong but what always does.
pub(super) fn steady() -> Scenario {
    calm("steady", Vec::new())
}

/// The shop under callers that repeat with moderation.
pub(super) fn calm(name: &'static str, disturbances: Vec<Disturbance>) -> Scenario {
    let calm = Eagerness { attempts_max: 2, timeout_ms: 2000, back_off: Between(50.0, 150.0) };
    world(name, calm, disturbances)
}

/// Eager callers meet a slow payment service.
pub(super) fn retry_storm() -> Scenario {
    let eager = Eagerness { attempts_max: 4, timeout_ms: 600, back_off: Between(5.0, 25.0) };
    let slow = Effect::Slow { service: PAYMENT, factor: 20.0 };
    world(
        "retry-storm",
        eager,
        vec![Disturbance { effect: slow, first_s: 5, lasts_s: 15, every_s: None }],
    )
}

/// A slow database under callers that wait: pools fill up to the gateway.
pub(super) fn slow_dependency() -> Scenario {
    let patient = Eagerness { attempts_max: 1, timeout_ms: 15_000, back_off: Between(50.0, 150.0) };
    let slow = Effect::Slow { service: SHOP_DATABASE, factor: 250.0 };
    let mut scenario = world(
        "slow-dependency",
        patient,
        vec![Disturbance { effect: slow, first_s: 5, lasts_s: 20, every_s: None }],
    );
    one_long_attempt(&mut scenario);
    scenario
}

/// Then the truth knows how long every abandoned request would have taken.
pub(super) fn one_long_attempt(scenario: &mut Scenario) {
    scenario.browser.attempts_max = 1;
    scenario.browser.timeout_ms = 30_000;
    for service in &mut scenario.services {
        for step in service.routes.iter_mut().flat_map(|route| &mut route.steps) {
            let Step::Call(calls) = step else { continue };
            for call in calls {
                call.attempts_max = 1;
                call.timeout_ms = 15_000;
            }
        }
    }
}

fn world(name: &'static str, payment: Eagerness, disturbances: Vec<Disturbance>) -> Scenario {
    Scenario {
        name,
        sessions_per_s: 6.0,
        early_sessions: 24,
        regions: people::regions(),
        pages: people::pages(),
        entries: people::entries(),
        browser: BrowserPolicy {
            attempts_max: 3,
            back_off: Between(300.0, 700.0),
            timeout_ms: 8000,
            clock_error_ms: None,
            clock_drift_ppm: 0.0,
            sample_ratio: 1.0,
            observer: Observer::Beacon,
            second_tabs: 0.0,
            session_age_ms: None,
        },
        services: vec![
            gateway(payment),
            catalog(),
            cart(),
            payments(),
            database(
                "shop",
                "postgresql",
                24,
                &[
                    ("SELECT", "featured", LogNormal(9.0, 0.4)),
                    ("SELECT", "recommendations", HeavyTail(14.0, 0.5, 0.02, 220.0)),
                    ("SELECT", "products", HeavyTail(5.0, 0.4, 0.01, 90.0)),
                    ("SELECT", "product_search", HeavyTail(18.0, 0.5, 0.02, 250.0)),
                    ("SELECT", "carts", LogNormal(3.0, 0.4)),
                    ("UPDATE", "carts", HeavyTail(6.0, 0.4, 0.01, 120.0)),
                ],
            ),
            database(
                "sessions-cache",
                "redis",
                64,
                &[("GET", "catalog", LogNormal(0.4, 0.3)), ("SET", "catalog", LogNormal(0.5, 0.3))],
            ),
            database(
                "ledger",
                "postgresql",
                12,
                &[
                    ("SELECT", "payment_methods", LogNormal(4.0, 0.4)),
                    ("INSERT", "authorizations", HeavyTail(8.0, 0.4, 0.01, 100.0)),
                ],
            ),
        ],
        disturbances,
    }
}

fn gateway(payment: Eagerness) -> Service {
    let work = || Step::Work(LogNormal(2.0, 0.4));
    let optional = |call: Call| Call { needed: false, ..call };
    // The gateway's SDK annotates resends, except towards payment, whose client is older: there
    // the retries have to be inferred.
    let paying = |route| Call {
        timeout_ms: payment.timeout_ms,
        attempts_max: payment.attempts_max,
        back_off: payment.back_off,
        annotated: false,
        ..call(PAYMENT, route)
    };
    let routes = vec![
        route(
            "GET",
            "/api/home",
            vec![work(), Step::Call(vec![call(CATALOG, 0), optional(call(CATALOG, 1))])],
        ),
        route("GET", "/api/search", vec![work(), Step::Call(vec![call(CATALOG, 3)])]),
        route(
            "GET",
            "/api/products/{id}",
            vec![work(), Step::Call(vec![call(CATALOG, 2), optional(call(CATALOG, 1))])],
        ),
        route("GET", "/api/cart", vec![work(), Step::Call(vec![call(CART, 0)])]),
        route("POST", "/api/cart/items", vec![work(), Step::Call(vec![call(CART, 1)])]),
        route("GET", "/api/checkout", vec![work(), Step::Call(vec![call(CART, 0), paying(0)])]),
        route(
            "POST",
            "/api/orders",
            vec![work(), Step::Call(vec![call(CART, 0)]), Step::Call(vec![paying(1)])],
        ),
    ];
    Service {
        name: "gateway",
        kind: ServiceKind::Http(Transport::Grpc),
        workers: 96,
        queue: 192,
        routes,
    }
}

fn catalog() -> Service {
    let work = || Step::Work(LogNormal(3.0, 0.5));
    let cached = |ttl_ms, query| {
        vec![
            work(),
            Step::Call(vec![query_once(CACHE, 0)]),
            Step::UnlessCached { ttl_ms, skip: 3 },
            Step::Call(vec![query_once(SHOP_DATABASE, query)]),
            Step::Call(vec![query_once(CACHE, 1)]),
            Step::Fill,
        ]
    };
    let routes = vec![
        route("GET", "/featured", cached(5000, 0)),
        route("GET", "/recommendations", cached(10_000, 1)),
        route("GET", "/products/{id}", cached(20_000, 2)),
        route("GET", "/search", vec![work(), Step::Call(vec![query_once(SHOP_DATABASE, 3)])]),
    ];
    Service {
        name: "catalog",
        kind: ServiceKind::Http(Transport::Grpc),
        workers: 32,
        queue: 96,
        routes,
    }
}

fn cart() -> Service {
    let work = || Step::Work(LogNormal(3.0, 0.4));
    let routes = vec![
        route("GET", "/carts/{id}", vec![work(), Step::Call(vec![query_once(SHOP_DATABASE, 4)])]),
        route(
            "POST",
            "/carts/{id}/items",
            vec![
                work(),
                Step::Call(vec![call(CATALOG, 2)]),
                Step::Call(vec![query_once(SHOP_DATABASE, 5)]),
            ],
        ),
    ];
    let kind = ServiceKind::Http(Transport::HttpProtobuf);
    Service { name: "cart", kind, workers: 24, queue: 64, routes }
}

fn payments() -> Service {
    let routes = vec![
        route(
            "GET",
            "/methods",
            vec![Step::Work(LogNormal(45.0, 0.4)), Step::Call(vec![query_once(LEDGER, 0)])],
        ),
        route(
            "POST",
            "/authorizations",
            vec![
                Step::Work(HeavyTail(90.0, 0.4, 0.01, 500.0)),
                Step::Call(vec![query_once(LEDGER, 1)]),
            ],
        ),
    ];
    let kind = ServiceKind::Http(Transport::HttpJsonGzip);
    Service { name: "payment", kind, workers: 4, queue: 160, routes }
}

fn database(
    name: &'static str,
    system: &'static str,
    workers: usize,
    queries: &[(&'static str, &'static str, Distribution)],
) -> Service {
    let routes = queries
        .iter()
        .map(|(operation, collection, time)| route(operation, collection, vec![Step::Work(*time)]))
        .collect();
    Service { name, kind: ServiceKind::Database(system), workers, queue: workers * 4, routes }
}

fn route(method: &'static str, template: &'static str, steps: Vec<Step>) -> Route {
    Route { method, template, steps }
}

/// A call as most are: two attempts, a timeout far above the usual time, annotated.
fn call(service: usize, route: usize) -> Call {
    Call {
        to: Place { service, route },
        timeout_ms: 2500,
        attempts_max: 2,
        back_off: Between(50.0, 150.0),
        annotated: true,
        needed: true,
        proxied_max: 0,
        hedge_after_ms: None,
        token_ms: None,
    }
}

/// A query: drivers do not repeat.
fn query_once(service: usize, route: usize) -> Call {
    Call { attempts_max: 1, timeout_ms: 5000, annotated: false, ..call(service, route) }
}

#[cfg(test)]
mod tests {
    use super::super::GATEWAY;
    use super::*;

    #[test]
    fn the_names_of_places_hold() {
        let names: Vec<_> = demo().services.iter().map(|service| service.name).collect();
        let expected = [
            (GATEWAY, "gateway"),
            (CATALOG, "catalog"),
            (CART, "cart"),
            (PAYMENT, "payment"),
            (SHOP_DATABASE, "shop"),
            (CACHE, "sessions-cache"),
            (LEDGER, "ledger"),
        ];
        for (index, name) in expected {
            assert_eq!(names[index], name);
        }
        assert_eq!(demo().regions[people::SOUTH_AFRICA].country, "ZA");
    }
}
