// SPDX-License-Identifier: Apache-2.0
use super::*;

fn replaced(pattern: &str, replacement: &str, text: &str) -> String {
    let rule = RegexpRule::new(pattern.as_bytes(), replacement.as_bytes()).unwrap();
    let mut out = Vec::new();
    rule.replace(text.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn matches_are_replaced_and_other_text_stays() {
    let host = r"^https?://(?:www\.)?([^/]+)/.*$";
    for (text, expected) in [
        ("http://example.com/a/b?c", "example.com"),
        ("https://www.example.com/", "example.com"),
        ("https://www./x", "www."),
        ("https://www.", "https://www."),
        ("http://ünïcode.example/ä\nb", "ünïcode.example"),
        ("ftp://example.com/", "ftp://example.com/"),
        ("", ""),
    ] {
        assert_eq!(replaced(host, r"\1", text), expected, "{text}");
    }
    assert_eq!(replaced("^a?b*c+$", r"<\&>", "abbcc"), "<abbcc>");
    assert_eq!(replaced("^a?b*c+$", r"<\&>", "aab"), "aab");
    assert_eq!(
        replaced("^([a-c]+)([0-9]*)$", r"\2-\1\\", "abc12"),
        r"12-abc\"
    );
    assert_eq!(replaced("^(.)(..)$", r"\2\1", "äöü"), "öüä");
}

#[test]
fn what_may_match_in_several_ways_is_refused() {
    for pattern in [
        "a",
        "^a",
        "a$",
        "^a|b$",
        "^(a|b)$",
        "^a*a$",
        "^.*x$",
        "^(a)?$",
        "^(?:a?)?$",
        "^a??$",
        "^a{2}$",
        "^(?i)a$",
        r"^\d$",
        "^[[:alpha:]]$",
        "^[^]a]$",
        "^a?a?a$",
        "^(a(b))$",
        "^()$",
        "^ä$",
        "^(?=a)$",
        "^*$",
    ] {
        assert!(
            RegexpRule::new(pattern.as_bytes(), b"x").is_err(),
            "{pattern}"
        );
    }
    for replacement in [r"\2", r"\0", r"\x", r"a\"] {
        assert!(RegexpRule::new(b"^(a)$", replacement.as_bytes()).is_err());
    }
}
