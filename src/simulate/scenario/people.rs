//! The users of the shop: where they are, what they see, how patient they are.
//!
//! Round trips are those of a site in the east of the United States. The networks are long-held
//! blocks of access providers, so that any country database of any year resolves them.

use super::super::random::Distribution::{HeavyTail, LogNormal};
use super::{Choice, Fetch, Habits, Page, Region};

/// The index of Germany in [`regions`].
pub(super) const GERMANY: usize = 1;

/// The index of South Africa in [`regions`].
pub(super) const SOUTH_AFRICA: usize = 7;

const CALM: Habits =
    Habits { reload: 0.25, repeat: 0.45, leave: 0.25, navigate: 0.15, cancel: 0.15, stay: 0.35 };
const HASTY: Habits =
    Habits { reload: 0.45, repeat: 0.40, leave: 0.30, navigate: 0.15, cancel: 0.05, stay: 0.15 };
const QUITTING: Habits =
    Habits { reload: 0.15, repeat: 0.25, leave: 0.55, navigate: 0.20, cancel: 0.10, stay: 0.20 };

/// The regions, by falling share.
pub(super) fn regions() -> Vec<Region> {
    vec![
        region(("US", "en-US"), 0.30, (38.0, 0.001), (3000.0, HASTY)),
        region(("DE", "de-DE"), 0.15, (96.0, 0.001), (4000.0, CALM)),
        region(("IN", "en-IN"), 0.14, (205.0, 0.006), (5000.0, HASTY)),
        region(("GB", "en-GB"), 0.12, (84.0, 0.001), (3500.0, CALM)),
        region(("BR", "pt-BR"), 0.11, (132.0, 0.004), (4500.0, HASTY)),
        region(("JP", "ja-JP"), 0.08, (162.0, 0.001), (4000.0, QUITTING)),
        region(("AU", "en-AU"), 0.05, (204.0, 0.002), (4000.0, CALM)),
        region(("ZA", "en-ZA"), 0.05, (232.0, 0.008), (6000.0, CALM)),
    ]
}

/// A region from its country and language, its share, its network (round trip in milliseconds,
/// loss) and its users (patience in milliseconds, habits).
fn region(
    (country, language): (&'static str, &'static str),
    share: f64,
    (round_trip_ms, loss): (f64, f64),
    (patience_ms, habits): (f64, Habits),
) -> Region {
    Region {
        country,
        language,
        share,
        round_trip: HeavyTail(round_trip_ms, 0.25, 0.02, round_trip_ms * 5.0),
        loss,
        patience: LogNormal(patience_ms, 0.6),
        habits,
        networks: networks(country),
    }
}

/// Blocks that belong to one country as a whole: checked against iptoasn.com's table of 2026.
fn networks(country: &str) -> &'static [(u8, u8, u8)] {
    match country {
        "US" => &[(73, 0, 250), (24, 0, 15), (98, 192, 63)],
        "DE" => &[(79, 192, 63), (84, 128, 63), (91, 0, 63)],
        "IN" => &[(117, 192, 35), (117, 230, 25), (49, 32, 11)],
        "GB" => &[(86, 128, 63), (81, 128, 31)],
        "BR" => &[(177, 112, 9), (179, 132, 22), (189, 56, 13)],
        "JP" => &[(153, 126, 127), (60, 64, 95), (126, 53, 42)],
        "AU" => &[(1, 120, 39), (58, 160, 15), (101, 168, 23)],
        "ZA" => &[(41, 112, 15), (105, 208, 21), (197, 64, 39)],
        _ => &[],
    }
}

const HOME: usize = 0;
const PRODUCT: usize = 1;
const CART: usize = 2;
const CHECKOUT: usize = 3;
const THANKS: usize = 4;

/// Where sessions begin: at home, or by a link at a product, a cart, a checkout.
pub(super) fn entries() -> Vec<f64> {
    vec![0.45, 0.30, 0.13, 0.12, 0.0]
}

/// The pages.
pub(super) fn pages() -> Vec<Page> {
    let think = |median_ms| LogNormal(median_ms, 0.6);
    let home = Fetch { itemised: false, ..load("/api/home", 0) };
    let product = load("/api/products/{id}", 2);
    let cart = load("/api/cart", 3);
    let badge = Fetch { awaited: false, ..cart };
    let search = Fetch { itemised: false, ..load("/api/search", 1) };
    let add = Fetch { method: "POST", ..load("/api/cart/items", 4) };
    let order = Fetch { method: "POST", ..load("/api/orders", 6) };
    vec![
        Page {
            path: "/",
            loads: vec![home, badge],
            think: think(3500.0),
            choices: vec![
                (0.40, Choice::Go(PRODUCT)),
                (0.15, Choice::Push(PRODUCT)),
                (0.20, Choice::Type(search)),
                (0.10, Choice::Go(CART)),
                (0.15, Choice::Leave),
            ],
        },
        Page {
            path: "/products/{id}",
            loads: vec![product, badge],
            think: think(5000.0),
            choices: vec![
                (0.30, Choice::Act(add)),
                (0.30, Choice::Go(CART)),
                (0.20, Choice::Go(PRODUCT)),
                (0.05, Choice::Go(HOME)),
                (0.15, Choice::Leave),
            ],
        },
        Page {
            path: "/cart",
            loads: vec![cart],
            think: think(2500.0),
            choices: vec![
                (0.75, Choice::Go(CHECKOUT)),
                (0.10, Choice::Go(HOME)),
                (0.15, Choice::Leave),
            ],
        },
        Page {
            path: "/checkout",
            loads: vec![load("/api/checkout", 5)],
            think: think(4000.0),
            choices: vec![
                (0.60, Choice::Act(order)),
                (0.25, Choice::Go(THANKS)),
                (0.15, Choice::Leave),
            ],
        },
        Page {
            path: "/thanks",
            loads: vec![badge],
            think: think(2500.0),
            choices: vec![(0.30, Choice::Go(HOME)), (0.70, Choice::Leave)],
        },
    ]
}

fn load(template: &'static str, route: usize) -> Fetch {
    Fetch { method: "GET", template, route, awaited: true, itemised: true }
}
