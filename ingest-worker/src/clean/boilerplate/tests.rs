//! What counts as the edge of a page.

use super::without_page_lines;

/// Four pages with a header, a footer and a number each.
fn pages(separator: &str, number: impl Fn(usize) -> String) -> String {
    let texts = [
        "Die Gemeinde stellt den Plan auf.\nSie beteiligt die\n",
        "\nÖffentlichkeit und die Behörden.\n",
        "Der Plan wird ausgelegt.\nEinwände sind zu prüfen.\n",
        "Der Beschluss ist bekannt zu machen.\n",
    ];
    let page = |(index, text): (usize, &str)| {
        format!("Amtsblatt der Stadt Musterhausen Nr. {}\n\n{text}\n{}\n", index + 7, number(index + 1))
    };
    texts.into_iter().enumerate().map(page).collect::<Vec<_>>().join(separator)
}

const BODY: &str = "Die Gemeinde stellt den Plan auf.\nSie beteiligt die\nÖffentlichkeit und die Behörden.\n\nDer Plan wird ausgelegt.\n\
                    Einwände sind zu prüfen.\n\nDer Beschluss ist bekannt zu machen.\n";

#[test]
fn headers_footers_and_numbers_of_pages_go_and_a_broken_sentence_closes() {
    for (separator, number) in [
        ("", Box::new(|page| format!("Seite {page} von 4")) as Box<dyn Fn(usize) -> String>),
        ("", Box::new(|page| format!("- {page} -"))),
        ("", Box::new(|page| format!("{page}/4"))),
        ("\u{C}", Box::new(|page| format!("Seite {page}"))),
    ] {
        let (text, removed) = without_page_lines(&pages(separator, number)).unwrap();
        assert_eq!(text, BODY);
        assert_eq!(removed, 8);
    }
}

#[test]
fn form_feeds_alone_end_pages() {
    let text = pages("\u{C}", |_| String::new());
    let (text, removed) = without_page_lines(&text).unwrap();
    assert_eq!((text.trim_end(), removed), (BODY.trim_end(), 4));
}

#[test]
fn a_text_without_pages_stays_whatever_repeats_in_it() {
    for text in [
        "§ 1\nAllgemeines\n\nText eins.\n\n§ 2\nAllgemeines\n\nText zwei.\n\n§ 3\nAllgemeines\n\nText drei.\n",
        "1\n2\n3\n4\n5\n",
        "Schritt 1\nAntrag stellen.\nSchritt 2\nAntrag stellen.\nSchritt 3\nAntrag stellen.\n",
        "- 5 -\nEin Wert.\nNoch einer.\nUnd weiter.\n- 9 -\nEin anderer.\nUnd noch einer.\nSchluss.\n",
        "Kurz.",
        "",
    ] {
        assert_eq!(without_page_lines(text), None, "{text}");
    }
}

#[test]
fn a_line_of_text_that_stands_once_at_an_edge_stays() {
    let text = (1..=5).map(|page| {
        format!(
            "Absatz über Sache {}.\nMehr dazu.\nUnd Schluss mit {}.\nSeite {page}\n",
            "x".repeat(page),
            "y".repeat(page)
        )
    });
    let (text, removed) = without_page_lines(&text.collect::<String>()).unwrap();
    // `Mehr dazu.` stands near every page number.
    assert_eq!(removed, 10);
    assert!(text.contains("Absatz über Sache xxx.") && text.contains("Und Schluss mit yyyyy."), "{text}");
}
