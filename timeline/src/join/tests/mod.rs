//! Known answers, and the property that order, batching and repetition do not matter.

mod asked_again;
mod bounds;
mod budget;
mod erase;
mod known_answers;
mod late;
mod linked;
mod oracle;
mod order;
mod proxied;
mod resends;
mod sessions;
mod stopped;
mod twins;
mod unseen;
mod waste;
mod world;
