//! Alerts, told to real receivers on loopback: signed, tried again, told once, put together, and never with a secret.

mod canary;
mod delivery;
mod digests;
mod killed;
mod receiver;
mod restart;
mod rules;
mod stage;
mod sweep;
