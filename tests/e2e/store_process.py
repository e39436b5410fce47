"""Object storage of the distributed stack. Usage: `store_process.py DIRECTORY`."""

import os
import sys
from pathlib import Path

import uvicorn

from coach_embedded.store import StoreKey, create_store_app

if __name__ == "__main__":
    uvicorn.run(
        create_store_app(
            Path(sys.argv[1]) / "objects",
            keys=[StoreKey(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])],
            bucket=os.environ["S3_BUCKET_NAME"],
            cors_origins=["http://localhost:8081"],
        ),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        log_level="warning",
        access_log=False,
    )
