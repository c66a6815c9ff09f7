//! What a world is made of, as data: regions and their users, pages, services, disturbances.
//!
//! Not behaviour: nothing here moves. A new scenario is a new value of [`Scenario`], most often
//! the shop of [`shop`] and [`people`] with other numbers. Invariants: service
//! [`GATEWAY`] is the one the browsers call; every [`Place`] names a route that exists (checked by a test).

mod people;
mod shop;
mod trials;

use super::random::Distribution;
pub(crate) use shop::{CART, CATALOG};

/// The scenarios by name, with one sentence each.
pub(crate) const SCENARIOS: &[(&str, &str)] = &[
    ("demo", "a lively shop; every two minutes payment slows for 25 s and a retry storm grows"),
    ("steady", "a healthy shop: few failures, few retries, amplification near 1"),
    ("retry-storm", "payment slows from second 5 to 20 under callers that retry eagerly"),
    (
        "slow-dependency",
        "the catalogue's database slows from second 5 to 25; few retry, many leave",
    ),
    (
        "thundering-herd",
        "a message brings 150 users at once in seconds 5 and 35; refused ones come back in step",
    ),
    ("cache-stampede", "a hot key is slow to fill, and all miss it together at each expiry"),
    ("region-outage", "from second 5 to 20 Germany's sends are lost or held up for long"),
    ("flash-crowd", "from second 5 to 20 four times as many sessions begin"),
    ("pool-exhaustion", "from second 5 to 20 one of 24 connections to the shop's database is left"),
    ("bad-deploy", "from second 6 to 21 half of what the cart service does ends in an error"),
];

/// The service that browsers call.
pub(crate) const GATEWAY: usize = 0;

/// A whole world.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// New sessions per second when nothing is disturbed.
    pub(crate) sessions_per_s: f64,
    /// Sessions that begin within the first second, most of them with short visits, so that a
    /// newcomer sees rows at once.
    pub(crate) early_sessions: u32,
    pub(crate) regions: Vec<Region>,
    pub(crate) pages: Vec<Page>,
    /// Where sessions begin, as weights by page: some follow a link into the middle.
    pub(crate) entries: Vec<f64>,
    pub(crate) browser: BrowserPolicy,
    pub(crate) services: Vec<Service>,
    pub(crate) disturbances: Vec<Disturbance>,
}

/// Where users are, and what they are like there.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    /// ISO 3166-1 alpha-2 code of the country.
    pub(crate) country: &'static str,
    pub(crate) language: &'static str,
    /// The share of all users, as a weight.
    pub(crate) share: f64,
    /// Round trip between a user and the gateway, in milliseconds.
    pub(crate) round_trip: Distribution,
    /// The share of sends that the network loses.
    pub(crate) loss: f64,
    /// How long users wait for a page before they act, in milliseconds.
    pub(crate) patience: Distribution,
    pub(crate) habits: Habits,
    /// Public IPv4 networks of providers in the country: a first octet, a second octet, and how
    /// many more second octets after it.
    pub(crate) networks: &'static [(u8, u8, u8)],
}

/// What users do when they are disappointed, as weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) reload: f64,
    /// Asking for the same once more without a reload; after a failure only.
    pub(crate) repeat: f64,
    pub(crate) leave: f64,
    /// Going to another page of the shop.
    pub(crate) navigate: f64,
    /// Pressing cancel; while waiting only.
    pub(crate) cancel: f64,
    /// Waiting on, or going on without the failed part.
    pub(crate) stay: f64,
}

/// A kind of page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The document's path, with `{id}` for the item.
    pub(crate) path: &'static str,
    /// What the page fetches when it opens.
    pub(crate) loads: Vec<Fetch>,
    /// How long a satisfied user stays before the next step, in milliseconds.
    pub(crate) think: Distribution,
    /// What a satisfied user does next, by weight.
    pub(crate) choices: Vec<(f64, Choice)>,
}

/// A step of a satisfied user.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    /// Open another document: the page of this index.
    Go(usize),
    /// Change the page within the document.
    Push(usize),
    /// Press a button that fetches.
    Act(Fetch),
    /// Type into a field that fetches at every key and aborts the fetch of the key before.
    Type(Fetch),
    /// Close the tab.
    Leave,
}

/// What a page asks of the gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    pub(crate) method: &'static str,
    /// The path with `{id}` for the item; also the gateway's route.
    pub(crate) template: &'static str,
    /// The index of the gateway's route.
    pub(crate) route: usize,
    /// Whether the user waits for it.
    pub(crate) awaited: bool,
    /// Whether the answer depends on the item the user looks at.
    pub(crate) itemised: bool,
}

/// How the application's fetch wrapper behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrowserPolicy {
    /// Sends of one request at most, the first included.
    pub(crate) attempts_max: u32,
    /// The wait before the second attempt, in milliseconds; doubled before each further one.
    pub(crate) back_off: Distribution,
    /// A send without an answer for this long counts as failed, in milliseconds.
    pub(crate) timeout_ms: u64,
    /// How wrong users' clocks are at most, in milliseconds; `None`: as most are, a few far more.
    pub(crate) clock_error_ms: Option<f64>,
    /// How much they gain or lose at most, in millionths.
    pub(crate) clock_drift_ppm: f64,
    /// The share of the sessions that tell everything; of the others each page sends one summary.
    pub(crate) sample_ratio: f64,
    /// Who observes the pages.
    pub(crate) observer: Observer,
    /// The share of a satisfied user's steps that lead into a second tab, until there is one.
    pub(crate) second_tabs: f64,
    /// When another session follows a visit's latest, in milliseconds; `None`: no visit lasts so long.
    pub(crate) session_age_ms: Option<u64>,
}

/// What observes a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observer {
    /// A beacon like the product's: attempts are numbered, events tell what users did.
    Beacon,
    /// A tracing SDK: each send is a trace of its own that says nothing of others, and one that was
    /// given up leaves no span; document loads and clicks are spans as well. It passes the session
    /// on to the gateway.
    Tracer,
}

/// A route of a service, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) service: usize,
    pub(crate) route: usize,
}

/// A service with a pool of workers, or a database with a pool of connections.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) kind: ServiceKind,
    /// Requests served at the same time.
    pub(crate) workers: usize,
    /// Requests that may wait for a worker; one more is refused at once.
    pub(crate) queue: usize,
    pub(crate) routes: Vec<Route>,
}

/// What a service is to its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceKind {
    /// Called by HTTP, with spans of its own, sent to the collector as named.
    Http(Transport),
    /// Called by a driver: only the caller's spans show it. The value is `db.system.name`.
    Database(&'static str),
}

/// How a service's SDK exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, protobuf.
    HttpProtobuf,
    /// OTLP over HTTP, JSON, gzip.
    HttpJsonGzip,
}

/// What a service can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The HTTP method; of a database, the operation.
    pub(crate) method: &'static str,
    /// The path template; of a database, the collection.
    pub(crate) template: &'static str,
    pub(crate) steps: Vec<Step>,
}

/// A step of a handler. The steps run one after the other; the worker is held throughout.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Work of its own, in milliseconds.
    Work(Distribution),
    /// Calls made at the same time, all awaited.
    Call(Vec<Call>),
    /// Goes past the next `skip` steps when the item was filled less than `ttl_ms` ago.
    UnlessCached { ttl_ms: u64, skip: usize },
    /// Marks the item as filled.
    Fill,
}

/// A call from a handler to another place, with the caller's retry loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) to: Place,
    pub(crate) timeout_ms: u64,
    /// Sends at most, the first included.
    pub(crate) attempts_max: u32,
    /// The wait before a retry, in milliseconds.
    pub(crate) back_off: Distribution,
    /// Whether the caller's SDK writes `http.request.resend_count`, and a proxy counts its sends.
    pub(crate) annotated: bool,
    /// Whether the handler fails when the call does.
    pub(crate) needed: bool,
    /// What a proxy before the callee makes at most of one of these sends; 0: there is none.
    pub(crate) proxied_max: u32,
    /// When the caller sends a second time beside the first, in milliseconds; `None`: never.
    pub(crate) hedge_after_ms: Option<u64>,
    /// How long the caller's token for the callee is good, in milliseconds; `None`: it needs none.
    pub(crate) token_ms: Option<u64>,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disturbance {
    pub(crate) effect: Effect,
    pub(crate) first_s: u64,
    pub(crate) lasts_s: u64,
    /// Seconds between two beginnings; `None`: it happens once.
    pub(crate) every_s: Option<u64>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// The work of a service takes this many times as long.
    Slow { service: usize, factor: f64 },
    /// The network loses this share of the sends of a region.
    Lose { region: usize, share: f64 },
    /// The network holds up this share of the sends of a region, in milliseconds; then they go on.
    Stall { region: usize, share: f64, time: Distribution },
    /// This share of a service's runs does its work and then ends in an error of its own.
    Fail { service: usize, share: f64 },
    /// A pool has so many workers left. Who works keeps working.
    ShrinkPool { service: usize, workers: usize },
    /// A service forgets everything cached, in a moment.
    CacheFlush { service: usize },
    /// So many times as many sessions begin.
    Surge { factor: f64 },
    /// So many further sessions begin within this time: somebody has called them.
    Summon { sessions: usize, within_ms: u64 },
}

impl Scenario {
    /// The scenario of this name.
    pub(crate) fn find(name: &str) -> Option<Scenario> {
        match name {
            "demo" => Some(shop::demo()),
            "steady" => Some(shop::steady()),
            "retry-storm" => Some(shop::retry_storm()),
            "slow-dependency" => Some(shop::slow_dependency()),
            "thundering-herd" => Some(trials::thundering_herd()),
            "cache-stampede" => Some(trials::cache_stampede()),
            "region-outage" => Some(trials::region_outage()),
            "flash-crowd" => Some(trials::flash_crowd()),
            "pool-exhaustion" => Some(trials::pool_exhaustion()),
            "bad-deploy" => Some(trials::bad_deploy()),
            _ => None,
        }
    }

    /// The world for `rate` times the users: the services grow with it, so that the scenario
    /// stays the same story. Capacity never falls below one worker.
    pub(crate) fn scaled(mut self, rate: f64) -> Scenario {
        let scaled = |count: usize| (count as f64 * rate).ceil() as usize;
        self.sessions_per_s *= rate;
        for service in &mut self.services {
            service.workers = scaled(service.workers).max(1);
            service.queue = scaled(service.queue);
        }
        for disturbance in &mut self.disturbances {
            match &mut disturbance.effect {
                Effect::Summon { sessions, .. } => *sessions = scaled(*sessions),
                Effect::ShrinkPool { workers, .. } => *workers = scaled(*workers).max(1),
                _ => {}
            }
        }
        self
    }

    /// The calls that one service's handlers make to another.
    pub(crate) fn calls_between(
        &mut self,
        caller: usize,
        callee: usize,
    ) -> impl Iterator<Item = &mut Call> {
        let steps = self.services[caller].routes.iter_mut().flat_map(|route| &mut route.steps);
        let calls = steps.filter_map(|step| match step {
            Step::Call(calls) => Some(calls),
            _ => None,
        });
        calls.flatten().filter(move |call| call.to.service == callee)
    }

    /// The route at a place.
    pub(crate) fn route(&self, place: Place) -> &Route {
        &self.services[place.service].routes[place.route]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_and_consistent() {
        for (name, _) in SCENARIOS {
            let scenario = Scenario::find(name).expect("a listed scenario exists");
            assert_eq!(scenario.name, *name);
            assert!(matches!(scenario.services[GATEWAY].kind, ServiceKind::Http(_)));
            for service in &scenario.services {
                for step in service.routes.iter().flat_map(|route| &route.steps) {
                    let Step::Call(calls) = step else { continue };
                    for call in calls {
                        assert!(call.to.route < scenario.services[call.to.service].routes.len());
                    }
                }
            }
            for page in &scenario.pages {
                for (_, choice) in &page.choices {
                    let (Choice::Go(page) | Choice::Push(page)) = choice else { continue };
                    assert!(*page < scenario.pages.len());
                }
                for fetch in &page.loads {
                    assert_eq!(
                        scenario.services[GATEWAY].routes[fetch.route].template,
                        fetch.template
                    );
                }
            }
        }
    }
}
