"""Pages and the JSON API for the four roles: affiliate, merchant, finance, analyst.

In reading order: ``app`` (puts the site together), ``headers``, ``sessions`` (who is asking), ``passwords``, ``page`` (how a page is
made), ``forms``, ``entries`` (lists on one line), ``words`` (money, times and terms as people read them), ``chart``, ``account``
(one's own sign-in).

Affiliate: ``affiliate`` (overview), ``affiliate_catalogue`` (what it joined), ``affiliate_links``, ``affiliate_conversions``,
``affiliate_disputes``, ``affiliate_money``, ``affiliate_programmes``, ``affiliate_account``. Merchant: ``merchant`` (overview),
``merchant_catalogue``, ``merchant_orders``, ``merchant_disputes``, ``merchant_affiliates``, ``merchant_programmes``,
``merchant_versions``, ``merchant_policy``, ``merchant_policy_form``, ``merchant_replay``, ``merchant_rates``, ``merchant_rate_form``,
``merchant_rule_form``, ``merchant_rate_rows``, ``merchant_rate_choices``, ``merchant_preview``,
``merchant_links``, ``merchant_coupons``, ``merchant_stores``, ``merchant_segments``,
``merchant_coalitions``, ``merchant_keys``.
Finance: ``finance`` (overview), ``finance_plan``, ``finance_batches``, ``finance_statement``, ``finance_holds``,
``finance_adjustments``, ``finance_months``, ``finance_ledger``, ``finance_rates``. Analyst:
``analyst`` (the report), ``analyst_orders``, ``analyst_models`` (with ``flow``, its picture of paths). For all of them ``orders``
(why an order was credited) and ``disputes`` (what both sides of a case see), ``replay`` (a period under other policies, from
question to answer), ``workshop`` (long work in threads), for merchant and analyst
``conservation`` (is every event accounted for?), and for machines ``api``.
"""
