"""scikit-learn or LightGBM behind FastAPI, as their users serve them; run by `serve_http.py`, without fieldwise."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sklearn.pipeline import Pipeline, make_pipeline


class Asked(BaseModel):
    """The body of a request."""

    rows: list[dict[str, str]]


def train(name: str, log: str) -> Pipeline:
    """Return a model of the categories of a log."""
    frame = pd.read_parquet(log)
    labels = frame.pop("click")
    if name == "sklearn":
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import OneHotEncoder

        return make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(C=0.1, max_iter=200)).fit(
            frame, labels
        )
    from lightgbm import LGBMClassifier
    from sklearn.preprocessing import OrdinalEncoder

    ids = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(ids, LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1)).fit(frame, labels)


def main() -> None:
    """Train, and answer until the end."""
    model = train(*sys.argv[1:])
    app = FastAPI()

    @app.post("/v1/models/m:predict")
    def predict(asked: Asked) -> dict[str, Any]:
        return {"probability": model.predict_proba(pd.DataFrame(asked.rows))[:, 1].tolist()}

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"ready: http://127.0.0.1:{listener.getsockname()[1]} {sys.argv[1]}", flush=True)
    config = uvicorn.Config(app, http="httptools", loop="uvloop", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
