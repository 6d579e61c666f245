"""The cast: the same people in every test, so that a reader knows who may see what.

North and South are merchants that must never see each other. Anna and Ben are affiliates of North, Charlie of South.
"""

from core.scope import Scope

NORTH = "north"
SOUTH = "south"

MARTHA = Scope(user_id="martha@north.example", role="merchant", tenant_id=NORTH)
FRANK = Scope(user_id="frank@north.example", role="finance", tenant_id=NORTH)
FIONA = Scope(user_id="fiona@north.example", role="finance", tenant_id=NORTH)
ADA = Scope(user_id="ada@north.example", role="analyst", tenant_id=NORTH)
STELLA = Scope(user_id="stella@south.example", role="merchant", tenant_id=SOUTH)
ANNA = Scope(user_id="anna@blog.example", role="affiliate", affiliate_id="anna")
BEN = Scope(user_id="ben@deals.example", role="affiliate", affiliate_id="ben")
CHARLIE = Scope(user_id="charlie@app.example", role="affiliate", affiliate_id="charlie")
