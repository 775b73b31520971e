"""How zones went dark, replayed against the real code: which tests stand for which incident.

``CLAIMS``: incident, as the first table of LESSONS.md (beside the shared test data) names it → its tests. A test of
this package is named ``module.function``, one of another by its path from ``tests/`` on. ``test_every_row`` holds the
table to this and this to the tests.
"""

CLAIMS: dict[str, tuple[str, ...]] = {
    ".de, May 2026, 3 h": (
        "test_bad_signatures.test_de_2026_one_key_pair_per_hsm",
        "test_bad_signatures.test_de_2026_every_token_proves_the_published_key_before_it_is_used",
        "test_bad_signatures.test_de_2026_what_verification_finds_is_mailed_at_once",
        "integration/hsm/test_two_tokens.test_two_tokens",
    ),
    ".se, Feb 2022, 9,000 names": (
        "test_bad_signatures.test_se_2022_bad_signatures",
        "faults/hsm/test_bad_signatures.test_what_verification_finds_evicts_the_token",
    ),
    ".ru, Jan 2024, 2 h": (
        "test_keys_and_time.test_ru_2024_key_tag_collision",
        "test_keys_and_time.test_ru_2024_whole_keys_are_matched_never_tags",
    ),
    "ripe.net, Nov 2023": (
        "test_keys_and_time.test_ripe_2023_one_long_ttl_rejects_the_input_and_stops_no_refreshing",
        "test_keys_and_time.test_ripe_2023_the_alert_looks_at_the_whole_zone",
    ),
    ".nz, May 2023": ("test_keys_and_time.test_nz_2023_old_ksk_retired_while_its_ds_was_cached",),
    ".gov, 2013": (
        "test_keys_and_time.test_gov_2013_signed_with_one_algorithm_while_the_ds_named_two",
        "test_keys_and_time.test_gov_2013_a_set_without_one_of_the_algorithms_stops_at_the_verifier",
    ),
    ".fj, 2022": (
        "test_keys_and_time.test_fj_2022_signed_with_a_key_the_parent_did_not_know",
        "integration/test_first_publication.test_a_ds_of_others_at_the_parent_stops_the_first_publication",
        "integration/test_ds_lies.test_a_foreign_ds_is_an_alert_at_any_time",
    ),
    "Slack, 2021, 24 h": (
        "test_keys_and_time.test_slack_2021_wrong_bitmap_at_a_wildcard_or_empty_non_terminal",
        "test_keys_and_time.test_slack_2021_unsigned_with_the_ds_still_cached",
    ),
    "APNIC, 2012": (
        "test_input_and_service.test_apnic_2012_a_stand_by_signer_had_other_keys",
        "test_going_back.test_apnic_2012_stand_by_signer_had_other_zsks",
    ),
    "ARIN, 2016": (
        "test_input_and_service.test_arin_2016_serial_goes_backwards",
        "test_input_and_service.test_arin_2016_a_secondary_that_stays_behind_is_reported",
        "test_going_back.test_arin_2016_serial_went_backwards",
    ),
    ".arpa, 2010": (
        "test_input_and_service.test_arpa_2010_expiry_alarm_ignored",
        "test_input_and_service.test_arpa_2010_a_daily_mail_proves_that_mail_arrives",
    ),
    ".se, 2009": (
        "test_input_and_service.test_se_2009_missing_final_dots",
        "integration/test_input_faults.test_the_delta_guard_holds_back_and_can_be_overridden",
    ),
    "Cascade, 2025–26": (
        "test_input_and_service.test_cascade_no_path_from_published_to_empty",
        "test_input_and_service.test_cascade_a_file_that_is_gone_takes_nothing_back",
        "integration/test_config_reload.test_a_stored_zone_without_configuration_is_still_served",
    ),
    "OpenDNSSEC": (
        "test_bad_signatures.test_opendnssec_a_hung_key_service_costs_a_deadline_and_no_more",
        "test_bad_signatures.test_opendnssec_a_lost_key_is_an_error_and_never_a_reason_to_make_one",
        "faults/hsm/test_hsm_faults.test_an_idle_token_is_watched",
        "faults/hsm/test_hsm_faults.test_one_hung_session_costs_one_deadline",
    ),
    "pkcs11-provider": (
        "test_bad_signatures.test_pkcs11_provider_a_key_under_another_s_handle",
        "test_bad_signatures.test_pkcs11_provider_a_key_is_not_used_for_another_s_signatures",
        "faults/hsm/test_hsm_faults.test_keys_swapped_after_a_reconnect",
    ),
    "PowerDNS": ("test_keys_and_time.test_powerdns_serial_not_bumped_when_rrsigs_were_refreshed",),
    "Knot": ("faults/test_disk_full.test_one_zone_s_full_store_is_that_zone_s",),
    ".nl, 2022": (
        "integration/test_require_backup.test_keys_are_not_used_before_their_backup",
        "unit/core_keys/test_waiting_keys.test_a_new_key_waits_for_other_nodes",
        "integration/test_lost_keys.test_a_lost_zsk_without_standby",
        "unit/daemon_rollover/test_lost_and_given.test_the_plan_for_a_lost_key_is_shown_and_changes_nothing",
    ),
    "RIPE NCC, NSD chain": (
        "unit/server/test_edns_options.test_expire_is_never_beyond_the_first_rrsig",
        "integration/test_expire_chain.test_a_chain_of_secondaries_expires_the_zone_before_its_signatures_end",
    ),
    "deSEC": (
        "cases/test_zones_removed.test_a_zone_that_comes_back_follows_its_file",
        "cases/test_zones_removed.test_a_zone_removed_while_a_job_runs_leaves_nothing",
    ),
    "Twisted, 2026": (
        "property/test_steps.test_every_parser_is_linear",
        "cases/test_pointer_chains.test_chains_delay_no_other_client",
    ),
    "BIND, 2023–24": (
        "cases/test_update_refusals.test_what_would_freeze_a_secondary_is_refused_unless_configured",
    ),
}
