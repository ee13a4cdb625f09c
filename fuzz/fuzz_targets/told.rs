#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    selvedge_gateway::fuzz::run("told", bytes);
});
