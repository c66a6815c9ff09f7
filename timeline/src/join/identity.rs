//! Whose request it is: the columns that a request takes from what began it.

use crate::schema::{Event, Label, PageId, SessionId, Span, TabId, Time};

/// The columns that say whose request it is.
pub(super) struct Identity {
    pub(super) time: Time,
    pub(super) app: Label,
    pub(super) environment: Label,
    pub(super) service: Label,
    pub(super) layer: Label,
    pub(super) session_id: Option<SessionId>,
    pub(super) user_id: Option<String>,
    pub(super) page_id: Option<PageId>,
    pub(super) tab_id: Option<TabId>,
    pub(super) method: Label,
    pub(super) route: Label,
    pub(super) country: Label,
    pub(super) subdivision: Label,
    pub(super) region: Label,
    pub(super) synthetic: bool,
    pub(super) verified: bool,
    pub(super) sample_weight: f64,
}

impl Identity {
    pub(super) fn of_span(Span { row, hints }: &Span) -> Self {
        Self {
            time: row.time,
            app: row.app.clone(),
            environment: row.environment.clone(),
            service: row.service.clone(),
            layer: row.layer.clone(),
            session_id: row.session_id.clone(),
            user_id: row.user_id.clone(),
            page_id: row.page_id.clone(),
            tab_id: hints.tab_id.clone(),
            method: row.method.clone(),
            route: row.route.clone(),
            country: row.country.clone(),
            subdivision: row.subdivision.clone(),
            region: row.region.clone(),
            synthetic: row.synthetic,
            verified: row.verified,
            sample_weight: row.sample_weight,
        }
    }

    pub(super) fn of_event(Event { row, hints }: &Event) -> Self {
        Self {
            time: row.time.plus_us(-hints.waited_us.unwrap_or(0)),
            app: row.app.clone(),
            environment: row.environment.clone(),
            service: row.service.clone(),
            layer: row.layer.clone(),
            session_id: row.session_id.clone(),
            user_id: row.user_id.clone(),
            page_id: row.page_id.clone(),
            tab_id: row.tab_id.clone(),
            method: hints.method.clone().unwrap_or_else(Label::unknown),
            route: hints.route.clone().unwrap_or_else(Label::unknown),
            country: row.country.clone(),
            subdivision: row.subdivision.clone(),
            region: row.region.clone(),
            synthetic: row.synthetic,
            verified: row.verified,
            sample_weight: row.sample_weight,
        }
    }
}
