//! What somebody else wrote, in shapes that nobody would: the checks of `fuzz/`, each on bytes at random and on text
//! that is nearly right. A fuzz target goes on from here for as long as one likes: `just fuzz token_file`.

#[path = "../../../../fuzz/checks/mod.rs"]
pub mod checks;
mod generators;

use generators::{answers, credentials, noise, token_files};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same inputs at every run, so that a commit that has passed goes on passing; `PROPTEST_RNG_SEED=7` tries others,
/// and `PROPTEST_CASES=100000` more of them.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn law_10_an_answer_is_believed_to_the_letter_and_prints_no_token(input in prop_oneof![answers(), noise()]) {
        checks::token_response::check(&input.0);
    }

    #[test]
    fn law_5_an_error_ends_no_grant_that_was_not_said_to_be_gone(input in prop_oneof![answers(), noise()]) {
        checks::error_response::check(&input.0);
    }

    #[test]
    fn law_10_credentials_are_refused_without_showing_a_value(input in prop_oneof![credentials(), noise()]) {
        checks::credentials::check(&input.0);
    }

    #[test]
    fn law_5_a_token_file_is_remembered_and_loses_no_grant(input in prop_oneof![token_files(), noise()]) {
        checks::token_file::check(&input.0);
    }
}
