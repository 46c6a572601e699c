"""The sections: each module has `blocks(evidence)` and a row in `bench.report.contents`."""
