;;; threads.lisp - six threads at once that start, allocate and end, again and again.
(defvar *lock* (mp:make-lock :name "total"))
(defvar *total* 0)

(defun work (id)
  (let ((table (make-hash-table)) (list '()))
    (dotimes (i 4000)
      (setf (gethash (mod i 300) table) (make-string (mod (* i id) 50)))
      (push (vector i id) list)
      (when (zerop (mod i 50)) (setf list '())))
    (let ((result (+ (hash-table-count table) (length list))))
      (mp:with-lock (*lock*) (incf *total* result))
      result)))

(defun main (rounds)
  (dotimes (i rounds)
    (let ((all (loop for id from 1 to 6
                     collect (let ((id id)) (mp:process-run-function "worker" #'work id)))))
      (format t "~a ~a~%" i (reduce #'+ (mapcar #'mp:process-join all)))))
  (format t "total ~a~%" *total*))
