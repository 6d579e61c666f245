"""Pages and the JSON API for the four roles: affiliate, merchant, finance, analyst.

In reading order: ``app`` (puts the site together), ``headers``, ``sessions`` (who is asking), ``passwords``, ``page`` (how a page is made),
``forms``, ``words`` (money, times and terms as people read them), ``chart``; then the pages: ``affiliate``, ``links``, ``orders``,
``analyst``, ``merchant``, ``finance``; and ``api``.
"""
