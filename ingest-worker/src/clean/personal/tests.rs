//! What counts as personal data: made-up examples, each number with right check digits but of nobody.

use super::{find, masked};
use crate::share::share;

/// Texts and the mask that each must get, once.
const PERSONAL: &[(&str, &str)] = &[
    ("Schreiben Sie an max.mustermann@beispiel-stadt.de.", "[E-MAIL]"),
    ("Mail: Erika_Muster+amt@post.example.org, Betreff: Bau", "[E-MAIL]"),
    ("E-Mail poststelle(at)gemeinde-muster.de", "[E-MAIL]"),
    ("info [at] amt.example", "[E-MAIL]"),
    ("<jürgen.groß@müller-bau.de>", "[E-MAIL]"),
    ("peter [at] amt [dot] de", "[E-MAIL]"),
    ("peter(at)amt(dot)de", "[E-MAIL]"),
    ("peter {ät} amt {punkt} de", "[E-MAIL]"),
    ("peter[ät]amt.de", "[E-MAIL]"),
    ("peter[dot]muster[at]amt[dot]de", "[E-MAIL]"),
    ("peter (punkt) muster ( At ) bau.amt.de", "[E-MAIL]"),
    ("peter.muster@amt[.]de", "[E-MAIL]"),
    ("peter<at>amt<dot>de", "[E-MAIL]"),
    ("peter AT amt DOT de", "[E-MAIL]"),
    ("peter.muster at amt dot de", "[E-MAIL]"),
    ("peter dot muster at bau dot amt dot de", "[E-MAIL]"),
    ("peter at amt [dot] de", "[E-MAIL]"),
    ("peter (AT) amt (DOT) de", "[E-MAIL]"),
    ("peter(AT)amt.de", "[E-MAIL]"),
    ("peter&#64;amt.de", "[E-MAIL]"),
    ("peter＠amt.de", "[E-MAIL]"),
    ("Telefon: 030 1234567", "[TELEFON]"),
    ("Tel.: (0761) 12 34-56, Zimmer 12", "[TELEFON]"),
    ("Tel. 0 30/90 12-34 56", "[TELEFON]"),
    ("Fax 06221/12-3456", "[TELEFON]"),
    ("Durchwahl -: 123456", "[TELEFON]"),
    ("Rufen Sie an: +49 30 1234567.", "[TELEFON]"),
    ("Rufen Sie an: +49 (0)711 123-4567", "[TELEFON]"),
    ("erreichbar unter 0049 89 12345678", "[TELEFON]"),
    ("Mobil 0171/1234567", "[TELEFON]"),
    ("Meine Nummer ist 0171 2345678 und sonst nichts", "[TELEFON]"),
    ("Meine Nummer ist 01761234567", "[TELEFON]"),
    ("Die Zentrale (030) 9012-3456 hilft", "[TELEFON]"),
    ("unter 04321 123456 täglich", "[TELEFON]"),
    ("Handynummer: 0160 123 45 67", "[TELEFON]"),
    ("Tel.-Nr. 07071 123456", "[TELEFON]"),
    ("IBAN: DE89370400440532013000", "[IBAN]"),
    ("Konto DE89 3704 0044 0532 0130 00 bei der Bank", "[IBAN]"),
    ("überweisen auf AT61 1904 3002 3457 3201.", "[IBAN]"),
    ("(DE02100500000054540402)", "[IBAN]"),
    ("Steuer-ID: 86095742719", "[STEUERNUMMER]"),
    ("IdNr. 65 929 970 489", "[STEUERNUMMER]"),
    ("Die Nummer 86 095 742 719 steht auf dem Bescheid", "[STEUERNUMMER]"),
    ("Steuernummer 93815/08152", "[STEUERNUMMER]"),
    ("Steuer-Nr.: 181/815/08155", "[STEUERNUMMER]"),
    ("St.-Nr. 133/8150/8159", "[STEUERNUMMER]"),
    ("beim Finanzamt unter 21/815/08150 geführt", "[STEUERNUMMER]"),
    ("Steuernummer: 2893081508152", "[STEUERNUMMER]"),
    ("USt-IdNr. DE136695976", "[STEUERNUMMER]"),
    ("Max Muster, geboren am 3.5.1970 in Köln", "[GEBURTSDATUM]"),
    ("geb. am 03.05.1970", "[GEBURTSDATUM]"),
    ("Erika Muster (geb. 3. Mai 1970)", "[GEBURTSDATUM]"),
    ("Geburtsdatum: 1970-05-03", "[GEBURTSDATUM]"),
    ("Geburtsdatum 03.05.70", "[GEBURTSDATUM]"),
    ("Er wurde geboren in Bonn am 12. Dezember 1958.", "[GEBURTSDATUM]"),
    ("geb. Schmidt am 1. Januar 1950", "[GEBURTSDATUM]"),
    ("Muster, Max, * 03.05.1970", "[GEBURTSDATUM]"),
    ("She was born on 3 May 1970; date of birth: 3/5/1970", "[GEBURTSDATUM]"),
];

/// Texts of offices and statutes without any.
const NONE: &[&str] = &[
    "§ 35 Abs. 1 Satz 2 Nr. 3 BauGB in der Fassung vom 3. November 2017",
    "Gesetz vom 23.09.2004 (BGBl. I S. 2414), zuletzt geändert am 20.12.2023 (BGBl. 2023 I Nr. 394)",
    "BVerwG, Urteil vom 18.10.2012 - 4 C 3.11 -, BVerwGE 144, 341",
    "BVerfG, Beschluss vom 06.07.2010 - 2 BvR 2661/06 -, Rn. 12",
    "VG Musterstadt, Az. 5 K 1234/20",
    "Aktenzeichen 0123/456789",
    "Az.: 02-4567-89/2019",
    "Geschäftszeichen 0301 1234567",
    "Drucksache 19/12345, Seite 12-14",
    "ECLI:DE:BVerwG:2012:181012U4C3.11.0",
    "Die Fläche beträgt 1 000 000 000 Quadratmeter, also 1.000,00 km².",
    "In den Jahren 2010 - 2020 und 2021/2022 waren es 12 345 678 Euro.",
    "Versicherte, die vor dem 1. Januar 1964 geboren sind",
    "Kinder, geboren nach dem 31. Dezember 1991",
    "geboren bis zum 31.12.1954",
    "Die Frist endet am 03.05.2024 um 12:00 Uhr.",
    "Vom 01.01.2024 bis 31.12.2024 gilt 0,5 Prozent.",
    "ISBN 978-3-16-148410-0",
    "Postfach 10 20 30, 12345 Musterort",
    "Zimmer 0.123, Haus 4, 10117 Berlin",
    "Kassenzeichen 01234 567890",
    "Artikel 12 Absatz 3 Nummer 0815",
    "Flurstück 1234/56 der Gemarkung Muster, Flur 007",
    "Höhe 012345 bis 012350 über Grund",
    "DE89370400440532013001 ist keine gültige Kontonummer",
    "Die Zahl 86095742712 steht da",
    "Version 1.2.3, Build 20240131",
    "Das Symbol @ heißt Klammeraffe; user@host ohne Ende",
    "Treffen (at) Rathaus um 12",
    "Meet me at the office. The file is at example.com, look at it.",
    "We met at noon at amazon dot com, and at the dot on the map.",
    "Look at page 3 (dot) and at point 4 [at the end].",
    "Die Telekom Austria (AT) a1.net und die Post (AT) sind geladen.",
    "Der Antrag (at least one) ist bei Punkt 3 zu stellen; at. Punkt. Ende.",
    "Array[at] und list(at) liefern ein Element",
    "Preis 3 @ 5.00 EUR, Treffpunkt @ Rathaus",
    "<at> und {at} sind Marken; [at] [dot] auch",
    "Artikel 5 Abs. 3 GG, 2024/1689 und (EU) 2016/679",
    "Verordnung (EG) Nr. 1907/2006 vom 18.12.2006",
    "Lärm: 45-50 dB(A), 55/40, 06-22 Uhr, 22-06 Uhr",
    "Montag 08-12 14-18 Uhr, Dienstag 08-12 Uhr",
    "Frau Müller, geb. Schmidt, klagt gegen den Bescheid vom 3.5.2020.",
    "Tabelle: 0123 4567 8910 1112",
    "ABl. L 327 vom 22.12.2000, S. 1-73",
    "01.02.2020-05.02.2020 und 01-02-2020",
    "Seriennummer 0004711",
];

fn mask(text: &str) -> String {
    masked(text, &find(text))
}

#[test]
fn personal_data_is_found_and_nothing_else() {
    let (mut found, mut wrong, mut missed) = (0, Vec::new(), Vec::new());
    for (text, expected) in PERSONAL {
        let masks = mask(text);
        if masks.contains(expected) {
            found += 1;
        } else {
            missed.push((text, masks));
        }
    }
    for text in NONE {
        let masks = mask(text);
        if masks != *text {
            wrong.push(masks);
        }
    }
    let recall = share(found, PERSONAL.len() as u64);
    let precision = share(found, found + wrong.len() as u64);
    eprintln!(
        "recall {recall:.3} of {}, precision {precision:.3} beside {} without",
        PERSONAL.len(),
        NONE.len()
    );
    assert!(missed.is_empty() && wrong.is_empty(), "missed {missed:#?}\nwrong {wrong:#?}");
}

#[test]
fn the_text_around_a_mask_stays() {
    assert_eq!(
        mask("Frau Muster, geb. am 3.5.1970, Tel. (030) 123456-0, E-Mail a.b@c.de, § 35 BauGB."),
        "Frau Muster, geb. am [GEBURTSDATUM], Tel. [TELEFON], E-Mail [E-MAIL], § 35 BauGB."
    );
    assert_eq!(
        mask("IBAN DE89 3704 0044 0532 0130 00 und AT61 1904 3002 3457 3201!"),
        "IBAN [IBAN] und [IBAN]!"
    );
    assert_eq!(mask("Größe: 12 – ä 030 1234567"), "Größe: 12 – ä [TELEFON]");
    assert_eq!(
        mask("An peter [at] bau [dot] amt [dot] de, oder (post(at)amt.de). Punkt 3: a.b at c dot de."),
        "An [E-MAIL], oder ([E-MAIL]). Punkt 3: [E-MAIL]."
    );
    assert_eq!(mask("a@b-c.de-/x@y.org.2"), "[E-MAIL]-/[E-MAIL].2");
}

#[test]
fn a_text_is_masked_only_once() {
    for (text, _) in PERSONAL {
        let once = mask(text);
        assert_eq!(mask(&once), once);
    }
}

#[test]
fn odd_texts_do_no_harm() {
    for text in [
        "@",
        "a@",
        "@b.de",
        "(at)",
        "a(at",
        "a(dot)(at)b(dot)",
        "(dot) at (dot)",
        " at  dot ",
        "ä[ät]ß[.]",
        "a(at)b.(dot)c",
        "0",
        "+",
        "+4",
        "(0",
        "DE",
        "DE1",
        "geboren am",
        "* 1",
        "ü1ü",
        "1€2",
        "\u{1F600}0171 1234567",
    ] {
        mask(text);
    }
    for long in ["0 ".repeat(50_000), "a(dot)".repeat(20_000), "a at b dot ".repeat(10_000)] {
        assert_eq!(mask(&long), long);
    }
}

#[test]
#[ignore = "needs CLARA_SECTIONS, a JSONL file of sections of statutes with `text`"]
fn statutes_hold_next_to_nothing() {
    let lines = std::fs::read_to_string(std::env::var("CLARA_SECTIONS").unwrap()).unwrap();
    let mut found = Vec::new();
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = value["text"].as_str().unwrap();
        found.extend(find(text).into_iter().map(|finding| (finding.kind, text[finding.range].to_owned())));
    }
    eprintln!("{} findings in {} sections: {found:?}", found.len(), lines.lines().count());
    assert!(found.len() <= 3, "{found:?}");
}
