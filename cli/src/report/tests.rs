//! Tests of reports.

use clara_lifecycle::{calibration::JudgeStanding, gate, samples};

use super::*;

fn report() -> Report {
    let mut evaluation = samples::evaluation("law-lora-v1.0.0", &[90.0, 40.0]);
    evaluation.results[1].adapter_output =
        "</failure><script>alert(1)</script> | `x`\u{1b}[31m\nend".to_owned();
    let input = gate::GateInput { standing: JudgeStanding::default(), ..evaluation.gate_input() };
    let decision = gate::decide(&gate::GatePolicy::default(), &input);
    of_evaluation(&evaluation, Some(&decision))
}

#[test]
fn junit_counts_and_holds_nothing_that_breaks_out_of_its_element() {
    let xml = junit::text(&report());
    assert!(
        xml.contains(
            "<testsuite name=\"Evaluation of law-lora-v1.0.0\" tests=\"3\" failures=\"1\" errors=\"1\">"
        ),
        "{xml}"
    );
    assert!(xml.contains("<error message=\"inconclusive\">inconclusive\ntoo_few_samples: "), "{xml}");
    assert!(xml.contains("<testcase classname=\"sample\" name=\"s0\"><system-out>score 90.0 ("), "{xml}");
    assert!(xml.contains("&lt;/failure&gt;&lt;script&gt;") && !xml.contains("<script>"), "{xml}");
    assert!(!xml.contains('\u{1b}'), "{xml}");
    assert_eq!(xml.matches("<testcase").count(), xml.matches("</testcase>").count());
}

#[test]
fn markdown_keeps_every_check_in_one_row_without_markup_of_the_model() {
    let text = markdown::text(&report());
    assert!(text.starts_with("# Evaluation of law-lora-v1.0.0\n"), "{text}");
    assert!(text.contains("| decision | inconclusive |"), "{text}");
    let row = text.lines().find(|line| line.contains("sample s1")).unwrap();
    assert!(row.starts_with("| **failed** |"), "{row}");
    assert!(row.contains("&lt;script&gt;") && row.contains("\\|") && row.contains("\\`x\\`"), "{row}");
    assert!(!text.contains('\u{1b}') && !text.contains("<script>"), "{text}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("| passed |") || line.starts_with("| **")).count(),
        3
    );
}

#[test]
fn reports_are_written_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let files = ReportFiles { junit: Some(file.clone()), markdown: None };
    files.write(&report()).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), junit::text(&report()));
    let nowhere = ReportFiles { junit: None, markdown: Some(folder.path().join("no/report.md")) };
    assert!(nowhere.write(&report()).unwrap_err().to_string().contains("cannot write"));
}

#[test]
fn files_that_cannot_be_written_are_refused_before_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let junit = |path: PathBuf| ReportFiles { junit: Some(path), markdown: None };
    for path in [folder.path().join("no/report.xml"), folder.path().to_owned()] {
        let error = junit(path).check().unwrap_err();
        assert!(crate::usage::is_usage(&error), "{error}");
        assert!(error.to_string().starts_with("--junit "), "{error}");
    }
    junit(folder.path().join("report.xml")).check().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let earlier = folder.path().join("earlier.xml");
    fs::write(&earlier, "earlier").unwrap();
    junit(earlier.clone()).check().unwrap();
    assert_eq!(fs::read_to_string(&earlier).unwrap(), "earlier");
}
